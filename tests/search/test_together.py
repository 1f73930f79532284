"""All searches on one backbone, each under what was found before: their Plans merge, and one small model comes out."""

import numpy as np
import polars as pl
import pytest

from backbones import WITHOUT_VECTORS
from clicksmith.errors import CompositionError
from clicksmith.fitting.job import fit
from clicksmith.models import MODELS
from clicksmith.plan import Plan
from clicksmith.plan.merge import merge
from clicksmith.rank.job import rank
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.job import search
from clicksmith.serve.artifact import load as load_artifact
from clicksmith.serve.predictor import load

NAMES = ("user", "item", "city", "hour", "noise")
ROLES = {"user": "user", "item": "item"}
SCHEMA = Schema(
    fields=tuple(Categorical(name, role=ROLES.get(name, "context")) for name in NAMES), label=Label("click")
)
QUICK = {"batch_size": 256, "learning_rate": 1e-2, "monitor": "auc", "epochs": 2}
SMALL = {
    "optfs": {"epochs": 2, "penalty": 1e-4},
    "optembed": {"generations": 1, "mutations": 2, "crossovers": 2, "parents": 2},
    "dnis": {"epochs": 1},
    "optinter": {"epochs": 1, "candidates": 1, "dim": 4},
}


def rows(count: int = 2400, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    sizes = {"user": 60, "item": 40, "city": 8, "hour": 6, "noise": 30}
    ids = {
        name: np.minimum((random.pareto(1.0, count) * size / 8).astype(int), size - 1) for name, size in sizes.items()
    }
    logit = 1.5 * (ids["user"] % 3 == 0) - 1.0 + 1.5 * ((ids["item"] + ids["city"]) % 2)
    click = random.random(count) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {name: [f"{name}{x}" for x in column] for name, column in ids.items()} | {"click": click.astype(int)}
    )


TRAIN, VALID = rows(), rows(600, 1)


def options_of(backbone: str) -> dict[str, object]:
    return {"dim": 4, "units": (8,)} if backbone == "deepfm" else {}


def found(method: str, out, backbone: str = "deepfm", before=(), **more) -> Plan:
    return search(
        method, TRAIN, valid=VALID, schema=SCHEMA, backbone=backbone, settings=QUICK, plan=before, out=out,
        options=SMALL.get(method, {}) | more, model_options=options_of(backbone),
    )  # fmt: skip


def test_a_chain_of_all_searches_makes_one_small_model(tmp_path):
    ranking = rank(TRAIN, schema=SCHEMA)
    chain = [ranking.plan(top=4)]
    chain.append(found("graphhash", tmp_path / "maps.json", before=chain, left="user", right="item", rows=16))
    chain.append(found("optfs", tmp_path / "features.json", before=chain))
    chain.append(found("optembed", tmp_path / "dims.json", before=chain, max_ratio=0.8))
    chain.append(found("optinter", tmp_path / "pairs.json", before=chain))
    plan = merge(*chain)
    asked = {
        "valid": VALID,
        "schema": SCHEMA,
        "model": "deepfm",
        "options": {"dim": 4, "units": (8,)},
        "settings": QUICK,
    }
    small = fit(TRAIN, plan=plan, out=tmp_path / "small", **asked)
    whole = fit(TRAIN, out=tmp_path / "whole", **asked)
    layout = load_artifact(small.path).encoder.layout
    assert layout.rows["user"] <= 18 and layout.rows["item"] <= 18
    dropped = set(NAMES) - set(layout.order)
    assert len(dropped) == 1
    scores = load(small.path).predict(VALID.drop("click", *dropped))
    assert np.isfinite(scores).all()
    # the hundred or so ids of a toy do not outweigh crosses; without pairs the model must be smaller
    plain = fit(TRAIN, plan=merge(*chain[:-1]), out=tmp_path / "plain", **asked)
    sizes = [load_artifact(run.path).model.parameter_counts().total for run in (plain, whole)]
    assert sizes[0] < sizes[1]


QUICKLY = ("lr", "autoint")
"""Backbones that are not left to the slow tests."""


@pytest.mark.parametrize(
    "backbone", [name if name in QUICKLY else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
@pytest.mark.parametrize("method", ["optfs", "optembed", "dnis", "optinter", "graphhash"])
def test_every_method_with_every_backbone(method, backbone, tmp_path):
    more = {"left": "user", "right": "item", "rows": 16} if method == "graphhash" else {}
    if method in ("dnis", "optinter") and backbone in WITHOUT_VECTORS:
        with pytest.raises(CompositionError, match=r"reads n"):
            found(method, tmp_path / "plan.json", backbone)
        if method == "dnis":
            return
        more = {"mode": "counts"}
    plan = found(method, tmp_path / "plan.json", backbone, **more)
    asked = {"model": backbone, "options": options_of(backbone), "settings": QUICK}
    run = fit(TRAIN, valid=VALID, schema=SCHEMA, plan=plan, out=tmp_path / "run", **asked)
    assert np.isfinite(load(run.path).predict(VALID.head(20).drop("click"))).all()
