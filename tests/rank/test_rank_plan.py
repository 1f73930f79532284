"""The plan of a ranking: which fields go, which may not, and what cannot be met."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from stored import store_of

from clicks import clicks
from clicksmith.cli.main import main
from clicksmith.datasets.fields import planted_fields
from clicksmith.errors import UsageError
from clicksmith.fitting.job import fit
from clicksmith.plan.plan import Plan
from clicksmith.rank import rank, rank_store
from clicksmith.schema import Behaviour, Categorical, Label, Schema
from clicksmith.serve.predictor import load

FIELDS = tuple(Categorical(name) for name in ("user", "ad", "good", "best", "noise", "lent"))


@pytest.fixture(scope="module")
def ranked():
    random = np.random.default_rng(0)
    codes = {f.name: random.integers(0, 30, 5_000) for f in FIELDS}
    rate = 0.1 + 0.4 * (codes["best"] % 3 == 0) + 0.1 * (codes["good"] % 2 == 0)
    frame = pl.DataFrame(
        {
            **codes,
            "seen": ["|".join(map(str, ids)) for ids in random.integers(0, 30, (5_000, 3)).tolist()],
            "other": codes["lent"],
            "click": (random.random(5_000) < rate).astype(int),
        }
    )
    other = Categorical("other", share="lent")
    return rank(
        frame,
        schema=Schema(
            fields=(*FIELDS, other), behaviours=(Behaviour("seen", of="ad"),), label=Label("click"), group="user"
        ),
    )


def dropped(plan):
    (part,) = plan.parts
    return set(part.drop)


def test_the_rules_keep_what_they_say(ranked):
    assert ranked.kept(top=1) == ("best",)
    assert ranked.kept(top=2) == ("best", "good")
    assert set(ranked.kept(min_z=3)) == {"best", "good"} == set(ranked.kept())
    assert ranked.kept(cumulative=0.5) == ("best",)
    assert ranked.kept(fdr=1e-3) == ("best", "good") and ranked.kept(fdr=1e-9) == ("best",)
    assert len(ranked.kept(top=7)) == 7


def test_fields_that_others_need_are_kept_whatever_their_rank(ranked):
    plan = ranked.plan(top=2)
    assert dropped(plan) == {"noise", "other"}  # not ad (target), user (group), lent (vocabulary)
    (part,) = plan.parts
    assert part.drop["noise"].startswith("rank ") and "z " in part.drop["noise"]
    assert part.found_by.method == "rank, score adjusted_mi" and part.found_by.settings == {
        "score": "adjusted_mi",
        "top": 2,
    }
    assert set(part.found_by.scores) == {f.name for f in FIELDS} | {"other"} and part.found_by.data["train"]


def test_where_pairs_were_looked_at_a_copy_is_not_among_the_first():
    random = np.random.default_rng(0)
    best, good = random.integers(0, 9, (2, 6_000))
    rate = 0.1 + 0.4 * (best % 3 == 0) + 0.15 * (good % 2 == 0)
    frame = pl.DataFrame(
        {"best": best, "copy": 9 - best, "good": good, "click": (random.random(6_000) < rate).astype(int)}
    )
    schema = Schema(fields=tuple(Categorical(n) for n in ("best", "copy", "good")), label=Label("click"))
    assert set(rank(frame, schema=schema).kept(top=2)) == {"best", "copy"}
    assert "good" in rank(frame, schema=schema, pairs=3).kept(top=2)


def test_fields_that_say_something_only_together_stay_where_pairs_were_looked_at():
    """Each of a pair of fields whose exclusive or decides says nothing alone."""
    random = np.random.default_rng(0)
    codes = random.integers(0, [2, 2, 50, 9, 7], (8_000, 5))
    rate = 0.1 + 0.3 * (codes[:, 0] ^ codes[:, 1]) + 0.2 * (codes[:, 3] == 1)
    frame = pl.DataFrame({f"f{i}": codes[:, i] for i in range(5)}).with_columns(click=random.random(8_000) < rate)
    frame = frame.with_columns(pl.col("click").cast(int))
    schema = Schema(fields=tuple(Categorical(f"f{i}") for i in range(5)), label=Label("click"))
    alone, two = rank(frame, schema=schema), rank(frame, schema=schema, pairs=5)
    for rule in ({}, {"min_z": 3.0}):
        assert alone.kept(**rule) == ("f3",)
        assert set(two.kept(**rule)) == {"f0", "f1", "f3"}
    assert "f1" not in alone.kept(cumulative=0.9) and {"f0", "f1"} < set(two.kept(cumulative=0.9))


def test_keeping_all_drops_nothing(ranked):
    assert dropped(ranked.plan(top=7)) == set()


def test_fit_under_a_plan_that_keeps_all_is_fit_and_one_that_drops_reads_less(ranked, tmp_path):
    rows = clicks(400)
    found = rank(rows, label="click")
    quick = {"label": "click", "model": "fm", "epochs": 1}
    runs = {
        name: fit(rows, plan=plan, out=tmp_path / name, **quick)
        for name, plan in (("plain", ()), ("all", found.plan(top=len(found.schema.fields))), ("few", found.plan(top=2)))
    }
    assert runs["all"].metrics == runs["plain"].metrics
    weights = {name: load(run.path).artifact.model.state_dict() for name, run in runs.items()}
    assert weights["all"].keys() == weights["plain"].keys()
    assert all(torch.equal(value, weights["plain"][key]) for key, value in weights["all"].items())
    assert sum(v.numel() for v in weights["few"].values()) < sum(v.numel() for v in weights["plain"].values())


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"top": 0}, "top is 0; a plan keeps at least 1 field"),
        ({"top": 8}, "top is 8; 7 fields of the schema were ranked, keep between 1 and 7"),
        ({"min_z": 1e6}, r"min_z=1e\+06 would drop every field: the surest is 'best' with z"),
        ({"cumulative": 1.5}, "cumulative is 1.5"),
        ({"top": 2, "min_z": 3.0}, "top and min_z say twice"),
    ],
)
def test_what_cannot_be_met_is_refused(ranked, rule, match):
    with pytest.raises(UsageError, match=match):
        ranked.plan(**rule)


def test_noise_alone_gives_no_plan():
    random = np.random.default_rng(0)
    frame = pl.DataFrame(random.integers(0, 50, (2_000, 4))).with_columns(click=random.integers(0, 2, 2_000))
    found = rank(frame, label="click")
    with pytest.raises(UsageError, match="would drop every field"):
        found.plan(fdr=1e-6)
    unknown = rank_store(store_of(random.integers(0, 50, (200, 2)), random.integers(0, 2, 200)))
    with pytest.raises(UsageError, match="knows no schema"):
        unknown.plan(top=1)


def test_the_command_writes_a_plan_for_the_schema_that_fit_proposes(tmp_path, capsys):
    codes, labels, relevant = planted_fields(rows=6_000, fields=20, seed=5, effect=1.0)
    frame = pl.DataFrame({f"f{i}": codes[:, i] for i in range(20)}).with_columns(always=pl.lit(1), click=labels)
    frame.write_csv(tmp_path / "log.csv")
    words = ["rank", str(tmp_path / "log.csv"), "--label", "click", "--plan", str(tmp_path / "plan.json"), "--top", "5"]
    assert main(words) == 0
    assert "clicksmith fit" in (told := capsys.readouterr().err) and "--plan" in told
    assert "it drops 15 of 20 fields\n" in told
    plan = Plan.load(tmp_path / "plan.json")
    assert (
        len(dropped(plan)) == 15 and not dropped(plan) & {f"f{i}" for i in relevant} and "always" not in dropped(plan)
    )
    assert json.loads((tmp_path / "plan.json").read_text())["parts"][0]["kind"] == "fields"
