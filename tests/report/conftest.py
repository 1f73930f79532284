"""A report with every part filled in."""

from collections.abc import Callable

import numpy as np
import pytest

from clicksmith.evaluate import evaluate, scored
from clicksmith.plan import Block, Columns, FoundBy, IdMap, IdMaps, KeptFeatures, KeptFields, PairOp, Pairs, Plan, Ranks
from clicksmith.plan.arrays import Array
from clicksmith.report import (
    Bar,
    ColumnProfile,
    Ranking,
    ReportData,
    Searched,
    Trial,
    Trials,
    curves_of,
    distribution_of,
)


@pytest.fixture(scope="session")
def report_of() -> Callable[..., ReportData]:
    """Function from a name to a report with that name wherever a text comes from the user's data."""
    return full


def full(name: str = "price") -> ReportData:
    """A report with every part filled in; `name` stands wherever a text comes from the user's data."""
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1, 2000)
    labels, groups = random.random(2000) < 1 / (1 + np.exp(-logits)), random.integers(0, 60, 2000)
    slices = {name: np.array([name, "b", "c"])[random.integers(0, 3, 2000)]}
    found = evaluate(labels, logits=logits, groups=groups, slices=slices)
    log = [
        {"epoch": e, "loss": 0.5 / e, "valid": {"auc": 0.7 + 0.1 * e - 0.025 * e * e, name: 1.0 * e}}
        for e in (1, 2, 3, 4)
    ]
    return ReportData(
        title=f"deepfm on {name}",
        subtitle=name,
        metrics={"valid": found, "test": found},
        possible={"auc": 0.9},
        curves=curves_of(log),
        distributions={"test": distribution_of(scored(labels, logits=logits))},
        rankings=(Ranking(name, (Bar(name, 0.02, 0.01, 0.03), Bar("noise", -0.001, -0.002, 0.001)), name),),
        search=Trials(
            name,
            (Searched(name, (name, "b")), Searched("train.rate", log=True)),
            (
                Trial(0, "complete", 0.7, (0.0, 1e-3), (name, "0.001")),
                Trial(1, "pruned", 0.6, (1.0, 1e-2), ("b", "0.01"), name),
                Trial(2, "failed", None, (), (), name),
            ),
        ),
        plan=planned(name),
        profile=(ColumnProfile(name, "categorical", 12, 0.25, name, name), ColumnProfile("empty", "numeric")),
        notes=(name,),
        settings={"train": {"rate": 0.001, name: [1, 2]}},
        environment={"python": name},
    )


def planned(name: str) -> Plan:
    """A Plan with a part of every kind."""
    by, at = FoundBy(method=name, backbone=name, scores={name: 0.7}), {name: "n"}
    ids = Array(np.array([0, 1, 2, 3, 3], np.int32))
    return Plan(
        parts=(
            KeptFields(drop={name + "2": name}, found_by=by),
            IdMaps(slots={name: IdMap(rows=4, ids=ids)}, numbering=at, found_by=by),
            KeptFeatures(slots={name: Array(np.array([1, 1, 1, 0], bool))}, numbering=at, found_by=by),
            Columns(dim=4, slots={name: (Block(2, 3, (0, 1)), Block(3, 4, (2,)))}, numbering=at, found_by=by),
            Ranks(slots={name + "3": 2}, found_by=by),
            Pairs(pairs=(PairOp(fields=(name, "b"), op="factorise", dim=4),), found_by=by),
        )
    )
