"""OptInter: planted pairs, whose rows move what, hashing under a budget, the Plan, what is refused."""

import re
from collections import Counter
from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
import pytest
import torch

from clicksmith.embed.rows import row_stores
from clicksmith.embed.shape import Field, FieldShape
from clicksmith.encode.crossed import Crossed
from clicksmith.encode.crosses import buckets_of
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import PADDING, ZERO
from clicksmith.encode.store import Store
from clicksmith.errors import CompositionError, DataError, DivergedError, UsageError
from clicksmith.fields.pairs import RelaxedModule, RelaxedPairs
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models import model_spec
from clicksmith.models.planned import spec_under
from clicksmith.plan import Plan
from clicksmith.plan.apply import apply_plan
from clicksmith.plan.crossing import with_crosses
from clicksmith.plan.parts import FoundBy, PairOp, Pairs
from clicksmith.schema import Categorical, Label, Numeric, Schema
from clicksmith.search.job import search
from clicksmith.search.knobs import KnobBatches, knob_gradients, knob_loss
from clicksmith.search.method import Asked
from clicksmith.search.optinter import gains as counting
from clicksmith.search.optinter import method, relaxed
from clicksmith.search.optinter.gains import gains
from clicksmith.search.optinter.options import OptInter
from clicksmith.serve.predictor import load
from clicksmith.train.monitor import Judge
from clicksmith.train.settings import TrainSettings
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train

NAMES = tuple(f"f{i}" for i in range(6))
SCHEMA = Schema(fields=tuple(Categorical(name=name) for name in NAMES), label=Label("click"))
TRUE = {("f0", "f1"): "memorise", ("f2", "f3"): "factorise"}
SMALL = {"units": (32,), "dim": 4, "batch_norm": False, "dropout": 0.0}
QUICK = {"batch_size": 512, "learning_rate": 3e-3, "monitor": "auc"}


def planted(rows, seed=0):
    """A table of random signs over f0, f1; a product of two numbers over f2, f3; thirteen pairs say nothing."""
    truth, random = np.random.default_rng(7), np.random.default_rng(seed)
    ids = np.stack([random.integers(0, size, rows) for size in (30, 30, 300, 300, 20, 20)], 1)
    table = truth.choice([-1.5, 1.5], (30, 30))
    u, v = truth.normal(size=300), truth.normal(size=300)
    logit = table[ids[:, 0], ids[:, 1]] + 1.5 * u[ids[:, 2]] * v[ids[:, 3]]
    click = random.random(rows) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame({n: [f"v{x}" for x in ids[:, i]] for i, n in enumerate(NAMES)} | {"click": click.astype(int)})


class Told(Quiet):
    """Remembers what is said."""

    def __init__(self):
        self.lines, self.notes = [], []

    def said(self, text):
        self.lines.append(text)

    def noted(self, text):
        self.said(text)
        self.notes.append(text)


def asked(tmp_path, rows=3000, **options):
    encoder, store = Encoder.fit_encode(SCHEMA, planted(rows), tmp_path / "rows")
    valid = encoder.encode_to(planted(1000, 1), tmp_path / "valid")
    knobs = encoder.encode_to(planted(1000, 2), tmp_path / "knobs")
    return Asked(
        encoder=encoder, train=store, valid=valid, spec=model_spec("dnn", **SMALL),
        settings=TrainSettings(**QUICK, epochs=1), backbone="dnn", seed=0, before=Plan(), data={}, folder=tmp_path,
        progress=Told(), start=tmp_path / "start", knobs=knobs, **options,
    )  # fmt: skip


def test_counts_tell_what_is_memorised_from_what_is_a_product(tmp_path):
    _, store = Encoder.fit_encode(SCHEMA, planted(30_000), tmp_path / "rows")
    found = method.by_counts(gains(store, method.pairs_of(store.layout)))
    assert method.useful(found) == TRUE


def test_values_that_a_plan_dropped_count_as_missing_ones(tmp_path):
    _, store = Encoder.fit_encode(SCHEMA, planted(2000), tmp_path / "rows")
    rows = store.slice(0, store.rows)
    found = []
    for nothing in (ZERO, PADDING):
        ids = np.where(rows.ids > 12, nothing, rows.ids).astype(np.int32)
        found.append(gains(Store.of(replace(rows, ids=ids), store.layout), method.pairs_of(store.layout)))
    assert found[0] == found[1]


def test_of_more_rows_some_of_all_of_them_are_counted(tmp_path):
    """Rows in the order of their labels, of which the first have one label only."""
    rows = planted(8000).sort("click")
    _, store = Encoder.fit_encode(SCHEMA, rows, tmp_path / "rows")
    pair = ("f0", "f1")
    (some,), (all_,) = gains(store, (pair,), rows=4000), gains(store, (pair,))
    assert some.memorise == pytest.approx(all_.memorise, rel=0.5) and some.memorise_z > 3
    assert gains(store, (pair,), rows=8000) == (all_,)


def test_a_row_of_weight_two_counts_as_two_rows(tmp_path, monkeypatch):
    _, store = Encoder.fit_encode(SCHEMA, planted(4000), tmp_path / "rows")
    pairs, rows = method.pairs_of(store.layout)[:4], store.slice(0, store.rows)
    weighed = replace(rows, weight=np.full(store.rows, 3.0, np.float32))
    plain, even = gains(store, pairs), gains(Store.of(weighed, store.layout), pairs)
    assert [g.memorise for g in even] == pytest.approx([g.memorise for g in plain])  # only ratios of weights count
    double = store.take(np.repeat(np.arange(store.rows), 2))
    heavy = Store.of(replace(double, weight=np.tile([2.0, 0.0], store.rows).astype(np.float32)), store.layout)
    monkeypatch.setattr(counting, "_halves", lambda store, _: np.repeat(np.arange(store.rows // 2) % 2 == 0, 2))
    assert [g.memorise for g in gains(heavy, pairs)] == pytest.approx(
        [g.memorise for g in gains(Store.of(double, store.layout), pairs)]
    )


def test_every_planted_pair_gets_its_operation_and_every_other_stays_naive(tmp_path):
    told = Told()
    plan = search(
        "optinter", planted(20_000), valid=planted(6000, 1), out=tmp_path / "plan.json", backbone="dnn",
        model_options=SMALL, schema=SCHEMA, settings={**QUICK, "learning_rate": 1e-2}, options={"epochs": 2}, seed=0,
        progress=told,
    )  # fmt: skip
    (part,) = plan.parts
    assert {pair.fields: pair.op for pair in part.pairs} == TRUE
    assert set(part.found_by.scores) == {"bilevel_0", "counts"}  # both are reported
    assert any("hashed crosses" in line for line in told.lines)
    assert Plan.load(tmp_path / "plan.json").digest == plan.digest


def test_fit_under_the_plan_stores_what_is_needed_and_serves_raw_rows(tmp_path):
    part = Pairs(
        pairs=(
            PairOp(fields=("f1", "f0"), op="memorise", dim=3, min_count=5),
            PairOp(fields=("f2", "f3"), op="factorise", dim=3),
        ),
        found_by=FoundBy(method="hand"),
    )
    valid = planted(1500, 1)
    options = {"model": "dnn", "options": SMALL, "settings": QUICK, "epochs": 1, "schema": SCHEMA, "seed": 0}
    run = fit(planted(6000), valid=valid, plan=Plan(parts=(part,)), out=tmp_path / "run", **options)
    predictor = load(tmp_path / "run")
    encoder, model = predictor.artifact.encoder, predictor.artifact.model
    kept = len(encoder.crosses[0].counts)
    rows = encoder.layout.rows
    plain = sum(rows[name] for name in NAMES)
    expected = 4 * plain + 3 * (2 + kept) + 3 * (rows["f2"] + rows["f3"])
    assert sum(store.weight.numel() for store in row_stores(model)) == expected
    assert not any("alpha" in name for name, _ in model.named_parameters())
    scores = predictor.predict(valid.drop("click"))
    single = np.concatenate([predictor.predict(row) for row in valid.drop("click").head(5).to_dicts()])
    np.testing.assert_allclose(scores[:5], single, atol=1e-5)
    assert run.metrics["valid"]


def test_a_plan_without_pairs_is_the_plain_model(tmp_path):
    empty = Plan(parts=(Pairs(pairs=(), found_by=FoundBy(method="hand")),))
    options = {"model": "dnn", "options": SMALL, "settings": QUICK, "epochs": 1, "schema": SCHEMA, "seed": 0}
    data, valid = planted(2000), planted(600, 1)
    scores = [
        load(fit(data, valid=valid, out=tmp_path / name, plan=plan, **options).path).predict(valid.drop("click"))
        for name, plan in (("plain", Plan()), ("empty", empty))
    ]
    assert np.array_equal(*scores)


def test_a_pair_without_frequent_values_is_naive_and_says_so(tmp_path):
    part = Pairs(
        pairs=(PairOp(fields=("f2", "f3"), op="memorise", dim=3, min_count=500),), found_by=FoundBy(method="hand")
    )
    told = Told()
    fit(
        planted(1000), valid=planted(400, 1), model="dnn", options=SMALL, settings=QUICK, epochs=1, schema=SCHEMA,
        plan=Plan(parts=(part,)), out=tmp_path / "run", progress=told,
    )  # fmt: skip
    assert any("occurs 500 times in training: it is naive now" in line for line in told.lines)
    assert load(tmp_path / "run").artifact.encoder.crosses == ()


@pytest.mark.parametrize("mode", ["joint", "bilevel"])
def test_the_architecture_weights_see_their_own_rows_only(tmp_path, monkeypatch, mode):
    """Each gradient they move by is that of one batch: the one of the weights (joint), or of held-out rows."""
    work = asked(tmp_path)
    work = work if mode == "bilevel" else replace(work, knobs=None)
    options, pairs, trained, moves = OptInter(mode=mode, epochs=1), method.pairs_of(work.layout), [], []
    held = KnobBatches(Crossed(work.knobs or work.valid, relaxed.hashed(work.train, options, pairs, 0)), 512, seed=0)
    move, step_on = relaxed.AlphaHook._move, Stepper.step

    def steps(self, rows, rate, step):
        trained.append(rows)
        step_on(self, rows, rate, step)

    def seen(self, step):
        batch = held.batch(step - 1) if mode == "bilevel" else self.stepper.loader.batch(trained[-1])
        (own,) = knob_gradients(knob_loss(self.stepper, batch), [self.module.alpha])
        torch.testing.assert_close(self.module.alpha.grad, own)
        moves.append(bool(own.any()))
        move(self, step)

    monkeypatch.setattr(Stepper, "step", steps)
    monkeypatch.setattr(relaxed.AlphaHook, "_move", seen)
    relaxed.searched(work, options, pairs, 0)
    assert moves == [True] * 6  # 3,000 rows in batches of 512


def test_noise_is_of_the_search_that_asks_for_it(tmp_path, monkeypatch):
    work, found, real = replace(asked(tmp_path), knobs=None), [], relaxed.AlphaHook._move

    def first(self, step):
        found.append(self.module.alpha.grad.clone())
        real(self, step)

    monkeypatch.setattr(relaxed.AlphaHook, "_move", first)
    for name, gumbel in (("with", True), ("without", False)):
        options = OptInter(mode="joint", epochs=1, gumbel=gumbel)
        relaxed.searched(replace(work, folder=tmp_path / name), options, method.pairs_of(work.layout), 0)
    assert not torch.equal(found[0], found[len(found) // 2])


def test_the_temperature_falls_with_every_step_to_a_hundredth(tmp_path, monkeypatch):
    work, heat, real = replace(asked(tmp_path), knobs=None), [], relaxed.AlphaHook._move

    def seen(self, step):
        heat.append(float(self.module.temperature))
        real(self, step)

    monkeypatch.setattr(relaxed.AlphaHook, "_move", seen)
    relaxed.searched(work, OptInter(mode="joint", epochs=1, cooling=0.3), method.pairs_of(work.layout), 0)
    assert heat == pytest.approx([0.7, 0.4, 0.1, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(("better", "op"), [(-1, "memorise"), (1, "factorise")])
def test_operations_are_those_of_the_epoch_that_validates_best(tmp_path, monkeypatch, better, op):
    """The first epoch memorises all and the second factorises all; which one is better is said by hand."""

    def begins(self, epoch):
        with torch.no_grad():
            self.module.alpha.copy_(torch.eye(3)[epoch].expand_as(self.module.alpha))

    judge = Judge.judge
    monkeypatch.setattr(Judge, "judge", lambda self, score, step: judge(self, better * step, step))
    monkeypatch.setattr(relaxed.AlphaHook, "begin_epoch", begins)
    work = replace(asked(tmp_path), knobs=None)
    options = OptInter(mode="joint", epochs=2, alpha_rate=0, min_count=1)
    assert set(relaxed.searched(work, options, method.pairs_of(work.layout), 0).values()) == {op}


def test_the_optimiser_of_the_architecture_weights_is_where_they_are():
    """The trainer moves the model to its device before a hook is attached."""
    module = RelaxedPairs(pairs=(("a", "b"),)).build(
        FieldShape((), 4, base=tuple(Field(name, "id") for name in ("a", "b", "a*b")))
    )
    hook = relaxed.AlphaHook(OptInter(), module, None)
    module.to("meta")
    hook.attach(cast("Stepper", None))
    assert {moment.device.type for moment in hook.state()["adam"][0].values()} == {"meta"}


@pytest.mark.parametrize(("behind", "chosen"), [(0.95, "counts"), (1.05, "bilevel_0")])
def test_the_plan_of_the_counts_stays_unless_another_one_is_better_by_the_margin(tmp_path, monkeypatch, behind, chosen):
    work = asked(tmp_path, 300)
    rows = work.valid.slice(0, work.valid.rows)
    labels = np.stack([rows.labels[:, 0], np.arange(1000) < 960], 1).astype(np.float32)  # 40 rows of the rarest class
    work = replace(work, valid=Store.of(replace(rows, labels=labels), work.valid.layout))
    margin = 0.5 / 40**0.5
    scores = {"counts": 0.6, "bilevel_0": 0.6 + behind * margin}
    ops = {"bilevel_0": {("f0", "f1"): "memorise"}, "counts": {("f2", "f3"): "factorise"}}
    monkeypatch.setattr(method, "counted", lambda *_: ())
    monkeypatch.setattr(method, "candidates", lambda *_: ops)
    monkeypatch.setattr(method, "scored", lambda asked, options, name, ops: scores[name])
    (part,) = method.run(work, OptInter())
    assert {pair.fields: pair.op for pair in part.pairs} == ops[chosen]
    line = work.progress.lines[-1]
    assert line.startswith(f"{chosen}: ") and line.endswith(f"; counts stays unless another is better by {margin:.5f}")


@pytest.mark.parametrize(("most", "whole"), [(1, 4), (3, 2)])
def test_a_candidate_is_trained_no_longer_than_either_bound(tmp_path, monkeypatch, most, whole):
    epochs = []

    def rising(*given, **named):
        result = train(*given, **named)
        epochs.append(result.epochs)
        return result

    judge = Judge.judge
    monkeypatch.setattr(Judge, "judge", lambda self, score, step: judge(self, step, step))
    monkeypatch.setattr(method, "train", rising)
    work = asked(tmp_path, 600)
    work = replace(work, settings=TrainSettings(**QUICK, epochs=whole))
    method.scored(work, OptInter(rank_epochs=most), "one", {("f0", "f1"): "memorise"})
    assert epochs == [min(most, whole)]


@pytest.mark.parametrize("min_count", [1, 2])
def test_what_is_told_of_collisions_is_what_counting_gives(tmp_path, min_count):
    _, store = Encoder.fit_encode(SCHEMA, planted(3000), tmp_path / "rows")
    pairs = (("f0", "f1"), ("f2", "f3"))
    crosses = relaxed.hashed(store, OptInter(rows=4000, min_count=min_count), pairs, 0)
    told = re.search(r"about ([\d.]+)% share a bucket, of f2 x f3 ([\d.]+)%$", relaxed.crowded(crosses, store)[0])
    ids, at, shares = store.slice(0, 3000).ids, {c.name: i for i, c in enumerate(store.layout.ids)}, []
    for cross in crosses:
        one, two = (ids[:, at[name]].astype(np.int64) for name in cross.of.fields)
        keys = np.unique(one * cross.base + two)
        met = Counter(buckets_of(keys, cross.of.buckets, cross.of.seed).tolist())
        shares.append(100 * sum(n for n in met.values() if n > 1) / len(keys))
    assert [float(x) for x in told.groups()] == pytest.approx([sum(shares) / 2, shares[1]], abs=2)


def test_gains_of_several_labels_are_the_mean_of_what_each_wins(tmp_path):
    _, store = Encoder.fit_encode(SCHEMA, planted(3000), tmp_path / "rows")
    pairs, rows = (("f0", "f1"), ("f2", "f3")), store.slice(0, store.rows)
    other = np.random.default_rng(1).permutation(rows.labels)
    both = np.concatenate([other, rows.labels], 1)
    noise, own, mean = (
        gains(Store.of(replace(rows, labels=y), store.layout), pairs) for y in (other, rows.labels, both)
    )
    for name in ("memorise", "factorise"):
        wanted = [(getattr(a, name) + getattr(b, name)) / 2 for a, b in zip(noise, own, strict=True)]
        assert [getattr(gain, name) for gain in mean] == pytest.approx(wanted)
    assert method.by_counts(mean)["f0", "f1"] == "memorise" and method.by_counts(noise)["f0", "f1"] == "naive"


def test_groups_that_are_split_whole_are_whole_in_the_halves_of_the_gains(tmp_path, monkeypatch):
    seen, real = [], counting._halves

    def halves(store, group):
        seen.append((store, real(store, group)))
        return seen[-1][1]

    monkeypatch.setattr(counting, "_halves", halves)
    search(
        "optinter", planted(600), out=tmp_path / "plan.json", backbone="dnn", model_options=SMALL, settings=QUICK,
        schema=Schema(fields=SCHEMA.fields, label=SCHEMA.label, group="f4"), split="group", options={"mode": "counts"},
    )  # fmt: skip
    ((store, half),) = seen
    groups = store.targets["group"]
    assert not set(groups[half]) & set(groups[~half]) and 0.25 < half.mean() < 0.75
    rows = store.slice(0, store.rows)
    one = Store.of(replace(rows, group=np.zeros(store.rows, np.int64)), store.layout)
    with pytest.raises(DataError, match=r"are of 1 groups of 'f4', too few .* or use --split random"):
        gains(one, method.pairs_of(store.layout), group="f4")


def test_held_out_rows_leave_weights_and_running_statistics_alone(tmp_path, monkeypatch):
    work = asked(tmp_path)
    work = replace(work, spec=model_spec("dnn", **SMALL | {"batch_norm": True, "dropout": 0.2}))
    other = work.encoder.encode_to(planted(1000, 9), tmp_path / "other")
    trained = []

    def kept(model, *given, **named):
        trained.append(model)
        return train(model, *given, **named)

    monkeypatch.setattr(relaxed, "train", kept)
    options = OptInter(mode="bilevel", epochs=1, alpha_rate=0)
    for name, knobs in (("a", work.knobs), ("b", other)):
        relaxed.searched(replace(work, folder=tmp_path / name, knobs=knobs), options, method.pairs_of(work.layout), 0)
    one, two = (model.state_dict() for model in trained)
    assert any("running_mean" in name for name in one)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_same_seed_finds_the_same_and_screening_keeps_the_pairs_that_say_something(tmp_path):
    work = asked(tmp_path, 20_000)
    options = OptInter(mode="random", pairs=2)
    assert method.run(work, options) == method.run(work, options)
    assert not (tmp_path / "gains").exists()  # chance needs no counts
    narrow = OptInter(mode="joint", epochs=1, candidates=1, pairs=2)
    (part,) = method.run(replace(work, knobs=None), narrow)
    assert part.pairs and {pair.fields for pair in part.pairs} <= set(TRUE)
    assert any("15 pairs: the 2 with the largest gain" in line for line in work.progress.lines)


def test_the_control_draws_as_many_pairs_as_it_is_told(tmp_path):
    work = asked(tmp_path, 2000)
    parts = [method.run(replace(work, seed=s), OptInter(mode="random", drawn=(2, 3)))[0] for s in range(2)]
    for part in parts:
        assert sorted(pair.op for pair in part.pairs) == ["factorise"] * 3 + ["memorise"] * 2
    assert parts[0].pairs != parts[1].pairs
    with pytest.raises(UsageError, match=r"drawn is \(9, 9\), and there are 15 pairs"):
        method.run(work, OptInter(mode="random", drawn=(9, 9)))
    with pytest.raises(UsageError, match="the mode joint"):
        OptInter(mode="joint", drawn=(1, 1))


def test_the_crosses_of_the_search_keep_to_their_budget(tmp_path):
    work = asked(tmp_path)
    pairs = method.pairs_of(work.layout)
    for budget in (100, 5000):
        crosses = relaxed.hashed(work.train, OptInter(rows=budget, min_count=1), pairs, 0)
        assert sum(cross.rows for cross in crosses) <= budget
    with pytest.raises(UsageError, match=r"--search.rows 60 is the smallest"):
        relaxed.hashed(work.train, OptInter(rows=40), pairs, 0)


def test_weights_that_are_not_finite_stop_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(RelaxedModule, "weights", lambda self: torch.softmax(self.alpha * float("nan"), 1))
    with pytest.raises(DivergedError):
        relaxed.searched(asked(tmp_path), OptInter(epochs=1), method.pairs_of(asked(tmp_path / "b").layout), 0)


def test_architecture_weights_that_are_not_finite_name_their_rate(tmp_path, monkeypatch):
    work, real = asked(tmp_path), relaxed.AlphaHook._move

    def spoilt(self, step):
        self.module.alpha.grad.fill_(float("nan"))
        real(self, step)

    monkeypatch.setattr(relaxed.AlphaHook, "_move", spoilt)
    with pytest.raises(DivergedError, match=r"architecture weight is not finite at step 1\. .*--search\.alpha-rate"):
        relaxed.searched(work, OptInter(epochs=1), method.pairs_of(work.layout), 0)


def test_an_interrupted_search_goes_on(tmp_path, monkeypatch):
    options = {"epochs": 2, "candidates": 1}
    given = {
        "valid": planted(600, 1), "backbone": "dnn", "model_options": SMALL, "schema": SCHEMA, "settings": QUICK,
        "options": options, "seed": 0,
    }  # fmt: skip
    trained = []

    def kept(model, *given, **named):
        result = train(model, *given, **named)
        trained.append(next(m for m in model.modules() if isinstance(m, RelaxedModule)).alpha.detach().clone())
        return result

    monkeypatch.setattr(relaxed, "train", kept)
    whole = search("optinter", planted(3000), out=tmp_path / "whole.json", **given)
    real, steps = relaxed.AlphaHook.after_step, []

    def stops(self, step, rate):
        real(self, step, rate)
        steps.append(step)
        if len(steps) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(relaxed.AlphaHook, "after_step", stops)
    with pytest.raises(KeyboardInterrupt):
        search("optinter", planted(3000), out=tmp_path / "again.json", **given)
    with pytest.raises(UsageError, match=r"holds another search; it differs in options \(dim\)"):  # half of it is there
        search("optinter", planted(3000), out=tmp_path / "again.json", **{**given, "options": {**options, "dim": 3}})
    again = search("optinter", planted(3000), out=tmp_path / "again.json", **given)
    assert again.digest == whole.digest
    assert torch.equal(*trained)  # not only the largest of each pair


def test_candidates_of_an_interrupted_search_are_not_trained_again(tmp_path, monkeypatch):
    given = {
        "valid": planted(600, 1), "backbone": "dnn", "model_options": SMALL, "schema": SCHEMA, "settings": QUICK,
        "options": {"epochs": 1, "candidates": 3, "rank_epochs": 2}, "seed": 0,
    }  # fmt: skip
    whole = search("optinter", planted(3000), out=tmp_path / "whole.json", **given)
    real, counted, trained = method.scored, [], []

    def second_dies(asked, options, name, ops):
        trained.append(name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(asked, options, name, ops)

    monkeypatch.setattr(method, "scored", second_dies)
    monkeypatch.setattr(method, "gains", lambda *args, **kw: counted.append(1) or gains(*args, **kw))
    with pytest.raises(KeyboardInterrupt):
        search("optinter", planted(3000), out=tmp_path / "again.json", **given)
    done = tmp_path / "again.json.search" / f"candidate_{trained[0]}"
    assert (done / "checkpoint").exists() and counted == [1]
    first = (done / "checkpoint" / "weights.safetensors").stat().st_mtime_ns
    assert search("optinter", planted(3000), out=tmp_path / "again.json", **given).digest == whole.digest
    assert counted == [1] and (done / "checkpoint" / "weights.safetensors").stat().st_mtime_ns == first


def test_two_clicks_are_counted_without_a_warning(tmp_path, recwarn):
    rows = planted(400).with_columns(click=(pl.int_range(400) < 2).cast(int))
    _, store = Encoder.fit_encode(SCHEMA, rows, tmp_path / "rows")
    done = []
    found = gains(store, method.pairs_of(store.layout), counted=done.append)
    assert all(np.isfinite([g.memorise, g.factorise, g.memorise_z, g.factorise_z]).all() for g in found)
    assert done == list(range(1, 16)) and not recwarn.list


@pytest.mark.parametrize(("mode", "share"), [("joint", 0.0), ("bilevel", 0.25)])
def test_joint_search_trains_on_all_rows(tmp_path, mode, share):
    told, options = Told(), OptInter(mode=mode, epochs=1, candidates=1, held_out=0.25)
    search(
        "optinter", planted(1000), valid=planted(400, 1), backbone="dnn", model_options=SMALL, schema=SCHEMA,
        settings=QUICK, options=options, out=tmp_path / "plan.json", progress=told,
    )  # fmt: skip
    (line,) = [line for line in told.lines if line.startswith("rows: ")]
    assert line.startswith(f"rows: {1000 * (1 - share):,.0f} train,") and ("own parameters" in line) == (share > 0)


def test_crosses_of_one_name_are_refused(tmp_path):
    names = ("a", "b*c", "a*b", "c")
    rows = planted(600).rename(dict(zip(NAMES[:4], names, strict=True))).select(*names, "click")
    part = Pairs(
        pairs=tuple(PairOp(fields=pair, op="memorise", dim=3) for pair in (("a", "b*c"), ("a*b", "c"))),
        found_by=FoundBy(method="hand"),
    )
    with pytest.raises(
        DataError, match=r"another cross is named 'a\*b\*c' already, the name of the cross of 'a\*b' and"
    ):
        fit(rows, label="click", model="dnn", options=SMALL, plan=Plan(parts=(part,)), epochs=1, out=tmp_path / "run")


@pytest.mark.parametrize("model", ["lr", "ffm"])
def test_products_for_a_backbone_without_vectors_are_named(tmp_path, model):
    part = Pairs(pairs=(PairOp(fields=("f2", "f3"), op="factorise", dim=3),), found_by=FoundBy(method="hand"))
    with pytest.raises(CompositionError, match="the Plan factorises f2 x f3: products of field vectors, of which this"):
        fit(planted(600), schema=SCHEMA, model=model, plan=Plan(parts=(part,)), epochs=1, out=tmp_path / "run")


def test_a_search_that_diverged_leaves_the_plan_before_it_and_is_no_obstacle_to_the_mended_one(tmp_path):
    out = tmp_path / "plan.json"
    given = {
        "valid": planted(600, 1), "backbone": "dnn", "model_options": SMALL, "schema": SCHEMA, "out": out,
        "options": {"epochs": 1, "candidates": 1},
    }  # fmt: skip
    with pytest.raises(
        DivergedError, match=r"not finite at step 1\. Use a lower --search\.alpha-rate, or a lower learning rate"
    ):
        search("optinter", planted(1000), settings={**QUICK, "learning_rate": 1e30}, **given)
    assert not out.exists()
    good = search("optinter", planted(1000), settings=QUICK, **given)
    with pytest.raises(UsageError, match="holds another search"):
        search("optinter", planted(1000), settings={**QUICK, "learning_rate": 1e30}, **given)
    assert Plan.load(out).digest == good.digest


def test_every_weight_is_trained_in_the_search_those_of_norms_too(tmp_path, monkeypatch):
    """The paper's code gives the weights of its norms to no optimiser."""
    models = []
    monkeypatch.setattr(relaxed, "new_model", lambda *given: models.append(new_model(*given)) or models[-1])
    work = asked(tmp_path)
    work = replace(work, spec=model_spec("dnn", **{**SMALL, "batch_norm": True}))
    relaxed.searched(work, OptInter(epochs=1), method.pairs_of(work.layout), 0)
    (model,) = models
    begun = dict(new_model(model.spec, model.layout, 0).named_parameters())
    assert any("norm" in type(module).__name__.lower() for module in model.modules())
    still = [name for name, weight in model.named_parameters() if torch.equal(weight, begun[name])]
    assert still == ["block.then.0.stack.layers.0.bias"]  # in front of a norm, which takes it off again


def test_pairs_begin_in_the_refit_as_in_the_search(tmp_path):
    work = asked(tmp_path)
    found = method.run(work, OptInter(mode="random", std=0.7, drawn=(1, 1), candidates=1))
    assert {pair.std for pair in found[0].pairs} == {0.7}
    applied = with_crosses(apply_plan(Plan(parts=found), work.encoder), work.train)
    model = new_model(spec_under(applied, work.spec), applied.encoder.layout, 0)
    tables = [store.weight for store in row_stores(model)]
    deviations = sorted(round(float(weight[2:].detach().std()), 1) for weight in tables)
    assert deviations[-2:] == [0.7, 0.7] and deviations[0] < 0.3


def test_memorised_pairs_of_the_models_own_length_begin_in_the_refit_as_in_the_search_too(tmp_path):
    work = asked(tmp_path)
    work = replace(work, spec=model_spec("fm", dim=8))
    part = method.part_of(work, OptInter(dim=8), {("f0", "f1"): "memorise"})
    applied = with_crosses(apply_plan(Plan(parts=(part,)), work.encoder), work.train)
    model = new_model(spec_under(applied, work.spec), applied.encoder.layout, 0)
    tables = [(store.weight.detach(), store.starts["f0*f1"]) for store in row_stores(model) if "f0*f1" in store.starts]
    drawn = [float(weight[start + 1 : start + applied.encoder.layout.rows["f0*f1"]].std()) for weight, start in tables]
    assert drawn == pytest.approx([0.1], rel=0.1)  # one table, and none of first-order weights, as in the search


def test_a_pair_without_frequent_values_is_memorised_in_no_search_and_that_is_said(tmp_path, monkeypatch):
    def all_memorise(model, *_, **__):
        (module,) = (m for m in model.modules() if isinstance(m, RelaxedModule))
        module.alpha.data[:, 0] = 9.0

    monkeypatch.setattr(relaxed, "train", all_memorise)
    work = asked(tmp_path)
    ops = relaxed.searched(work, OptInter(min_count=12), method.pairs_of(work.layout), 0)
    rare = "no pair of values of f2 x f3 occurs 12 times in training: it is not memorised"
    assert ops["f2", "f3"] == "naive" and rare in work.progress.notes
    assert ops["f4", "f5"] == "memorise"  # 400 pairs of values in 3,000 rows
    assert sum(op == "naive" for op in ops.values()) == sum("not memorised" in line for line in work.progress.lines)


def test_crosses_are_those_of_the_training_rows_whatever_is_validated_on(tmp_path):
    part = Pairs(pairs=(PairOp(fields=("f0", "f1"), op="memorise", dim=3),), found_by=FoundBy(method="hand"))
    found = []
    for seed in (1, 2):
        run = fit(
            planted(2000), valid=planted(500, seed), model="dnn", options=SMALL, settings=QUICK, epochs=1,
            schema=SCHEMA, plan=Plan(parts=(part,)), out=tmp_path / str(seed),
        )  # fmt: skip
        found.append(load(run.path).artifact.encoder)
    assert found[0].digest == found[1].digest
    ids = found[0].encode(planted(2000)).ids[:, :2]
    met = Counter(map(tuple, ids.tolist()))
    (cross,) = found[0].crosses
    assert len(cross.counts) == sum(n >= 2 for n in met.values()) > 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"held_out": 0.0}, "held_out is 0.0; give a share between 0 and 1"),
        ({"alpha_rate": 1e39}, "alpha_rate is 1e\\+39; Adam steps by it, as in 0.03: give at most 100"),
        ({"alpha_rate": float("nan")}, "alpha_rate is nan; it must be at least 0, and finite"),
        ({"held_out": 1.0}, "held_out is 1.0; give a share between 0 and 1"),
        ({"pairs": 0}, "pairs is 0; it must be at least 1"),
        ({"min_count": 0}, "min_count is 0; it must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(wrong, says):
    with pytest.raises(UsageError, match=says):
        OptInter(**wrong)


def test_fewer_than_two_id_fields_are_refused_before_training(tmp_path):
    schema = Schema(fields=(Categorical(name="f0"), Numeric(name="n")), label=Label("click"))
    data = planted(500).with_columns(n=pl.Series(np.random.default_rng(0).random(500))).select("f0", "n", "click")
    with pytest.raises(UsageError, match="pairs of id fields, and the data has 1"):
        search("optinter", data, valid=data, out=tmp_path / "p.json", backbone="dnn", schema=schema)


def test_a_plan_for_other_fields_names_them_before_training(tmp_path):
    part = Pairs(pairs=(PairOp(fields=("f0", "city"), op="factorise", dim=3),), found_by=FoundBy(method="hand"))
    with pytest.raises(UsageError, match=r"the pair f0 x city: .*'city'"):
        fit(
            planted(500),
            valid=planted(200, 1),
            model="dnn",
            schema=SCHEMA,
            plan=Plan(parts=(part,)),
            out=tmp_path / "r",
        )
