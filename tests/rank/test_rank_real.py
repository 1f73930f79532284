"""Real rows: a backbone on the fields that rank first is better than on fields drawn, and on those that rank last."""

import msgspec
import numpy as np
import polars as pl
import pytest

from clicksmith.datasets.load import load
from clicksmith.fitting.job import fit
from clicksmith.rank import rank


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kept"), [("frappe_x1_rebuilt", 3), ("movielens_1m", 3), ("avazu_sample", 5)])
def test_kept_fields_decide_what_a_backbone_reaches(shared_data, tmp_path, name, kept):
    data = load(name, shared_data, fetch=False)
    parts = _parts(data)
    ranked = [f.field for f in rank(parts["train"], schema=data.schema).fields]
    random = np.random.default_rng(0)
    chosen = {"first": ranked[:kept], "last": ranked[-kept:]}
    chosen |= {f"drawn{i}": random.permutation(ranked)[:kept].tolist() for i in range(3)}
    auc = {how: _auc(parts, data.schema, names, tmp_path / how) for how, names in chosen.items()}
    drawn = np.mean([value for how, value in auc.items() if how.startswith("drawn")])
    assert auc["first"] > drawn + 0.005, auc
    assert auc["first"] > auc["last"] + 0.02, auc


@pytest.mark.slow
def test_fields_that_repeat_each_other_are_seen_in_pairs(shared_data, tmp_path):
    """Criteo's best fields say the same: eight in 3MR order reach more than the eight of the highest score.

    Those of the highest score reach less than eight drawn fields do.
    """
    data = load("criteo_sample", shared_data, fetch=False)
    parts = _parts(data)
    found = rank(parts["train"], schema=data.schema, pairs=len(data.schema.fields))
    ranked, random = [f.field for f in found.fields], np.random.default_rng(0)
    chosen = {"score": ranked[:8], "3mr": found.kept(top=8), "last": ranked[-8:]}
    chosen |= {f"drawn{i}": random.permutation(ranked)[:8].tolist() for i in range(10)}
    auc = {how: _auc(parts, data.schema, names, tmp_path / how) for how, names in chosen.items()}
    assert auc["3mr"] > auc["score"] > auc["last"] + 0.02, auc
    assert auc["3mr"] > np.mean([value for how, value in auc.items() if how.startswith("drawn")]), auc


def _parts(data):
    parts = {part: data.frame(part) for part in ("train", "valid", "test")}
    return {**parts, "train": parts["train"].sample(min(100_000, parts["train"].height), seed=0)}


def _auc(parts: dict[str, pl.DataFrame], schema, names, out):
    fields = tuple(c for c in schema.fields if c.name in names)
    small = msgspec.structs.replace(schema, fields=fields, behaviours=(), group=None, domain=None)
    settings = {"learning_rate": 0.005, "batch_size": 512 if parts["train"].height < 20_000 else 4096}
    run = fit(
        parts["train"],
        schema=small,
        valid=parts["valid"],
        test=parts["test"],
        model="dcnv2",
        settings=settings,
        epochs=4,
        out=out,
    )
    return run.metrics["test"]["auc"]
