"""OptInter's acceptance: what the modes keep, the size of what is retrained, two Plans with pairs, what is refused."""

from dataclasses import replace

import pytest
from test_optinter import QUICK, SCHEMA, SMALL, TRUE, Told, asked, planted

from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.fitting.job import fit
from clicksmith.plan import Plan
from clicksmith.plan.merge import merge
from clicksmith.plan.parts import FoundBy, PairOp, Pairs
from clicksmith.search.job import search
from clicksmith.search.optinter import method, relaxed
from clicksmith.search.optinter.options import OptInter
from clicksmith.serve.predictor import load
from clicksmith.train.settings import TrainSettings

BY = FoundBy(method="hand")
FIT = {"model": "dnn", "options": SMALL, "settings": QUICK, "epochs": 1, "schema": SCHEMA, "seed": 0}


def pairs_of(*pairs, **options):
    named = tuple(PairOp(fields=fields, op=op, dim=3, **options) for fields, op in pairs)
    return Plan(parts=(Pairs(pairs=named, found_by=BY),))


def test_held_out_rows_leave_useless_pairs_naive_and_training_rows_do_not(tmp_path):
    work = asked(tmp_path, 20_000)
    work = replace(work, settings=TrainSettings(**{**QUICK, "learning_rate": 1e-2}, epochs=1))
    held = work.encoder.encode_to(planted(5000, 2), tmp_path / "held")
    useless = {}
    for mode, knobs in (("joint", None), ("bilevel", held)):
        own = replace(work, knobs=knobs, folder=tmp_path / mode)
        found = method.useful(relaxed.searched(own, OptInter(mode=mode, epochs=3), method.pairs_of(work.layout), 0))
        assert found["f0", "f1"] == "memorise"
        useless[mode] = len(found.keys() - TRUE.keys())
    assert useless["bilevel"] <= 2 and useless["joint"] >= 5  # the paper's joint search: a known failure


def test_every_weight_of_the_retrained_model_is_in_the_formula(tmp_path):
    plan = pairs_of((("f0", "f1"), "memorise"), (("f2", "f3"), "factorise"))
    predictor = load(fit(planted(4000), valid=planted(500, 1), plan=plan, out=tmp_path / "run", **FIT).path)
    encoder, model = predictor.artifact.encoder, predictor.artifact.model
    rows = encoder.layout.rows
    single = {field.name: rows[field.name] for field in SCHEMA.fields}
    tables = 4 * sum(single.values()) + 3 * (2 + len(encoder.crosses[0].counts)) + 3 * (rows["f2"] + rows["f3"])
    flat = 4 * len(single) + 3 * (1 + 1)  # s1 F + s2 (P_m + P_f)
    dense = 32 * flat + 32 + 32 + 1
    assert sum(p.numel() for p in model.parameters()) == tables + dense


def test_a_pair_that_two_plans_ask_for_alike_is_made_once(tmp_path):
    one = pairs_of((("f0", "f1"), "memorise"), (("f2", "f3"), "factorise"))
    two = pairs_of((("f1", "f0"), "memorise"), (("f3", "f2"), "factorise"))
    run = fit(planted(2000), valid=planted(400, 1), plan=merge(one, two), out=tmp_path / "run", **FIT)
    assert len(load(run.path).artifact.encoder.crosses) == 1
    with pytest.raises(UsageError, match="the first lets f1 x f0 memorise, the second factorise"):
        merge(one, pairs_of((("f1", "f0"), "factorise")))


def test_a_minimal_count_of_one_is_warned_of(tmp_path):
    told = Told()
    plan = pairs_of((("f0", "f1"), "memorise"), min_count=1)
    fit(planted(1000), valid=planted(300, 1), plan=plan, out=tmp_path / "run", progress=told, **FIT)
    assert any("f0 x f1 has min_count 1: no training row has an unseen pair" in line for line in told.lines)


@pytest.mark.parametrize("method", ["optinter", "optfs", "graphhash"])
def test_no_search_works_under_pairs(tmp_path, method):
    plan = pairs_of((("f0", "f1"), "memorise"))
    with pytest.raises(UsageError, match=r"has pairs \(f0 x f1\).*Search without them, and give both Plans to fit"):
        search(
            method, planted(300), out=tmp_path / "p.json", backbone="dnn", schema=SCHEMA, plan=plan,
            options={"left": "f0"} if method == "graphhash" else None,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("was", "now", "error", "says"),
    [
        (
            '"memorise"',
            '"naive"',
            ArtifactError,
            r"pairs\[0\].op`; known are memorise and .* a naive pair is not named",
        ),
        ('"exact"', '"hashed"', ArtifactError, r"'hashed' - at .*\.index`; known are exact and hash. Correct it there"),
        ('"memorise"', '"multiply"', ArtifactError, r"'multiply' - at `\$.parts\[0\].pairs\[0\].op`"),
        ('"f1"', '"f0"', UsageError, "the pair f0 x f0 is one field"),
        ('"std": 0.1', '"std": -1', UsageError, "pair f0 x f1: std is -1.0; it is at least 0, and finite"),
        ('"dim": 3', '"dim": 0', UsageError, "pair f0 x f1: dim 0 and min_count 2 are from 1"),
        ('"exact"', '"hash"', UsageError, "pair f0 x f1: buckets are given with index='hash'"),
    ],
)
def test_a_plan_of_pairs_that_cannot_be_is_refused_when_it_is_read(tmp_path, was, now, error, says):
    path = tmp_path / "plan.json"
    pairs_of((("f0", "f1"), "memorise")).save(path)
    text = path.read_text()
    assert was in text
    path.write_text(text.replace(was, now, 1))
    with pytest.raises(error, match=says):
        Plan.load(path)


def test_one_pair_is_named_once():
    with pytest.raises(UsageError, match="the pair f1 x f0 is twice"):
        pairs_of((("f0", "f1"), "memorise"), (("f1", "f0"), "factorise"))


def test_too_few_rows_to_hold_some_out_are_refused_before_training(tmp_path):
    with pytest.raises(DataError, match="too few to train on"):
        search(
            "optinter", planted(4), valid=planted(100, 1), out=tmp_path / "p.json", backbone="dnn", schema=SCHEMA,
            model_options=SMALL,
        )  # fmt: skip
    assert not (tmp_path / "p.json").exists()
