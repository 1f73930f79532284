"""OptFS beyond single features: gates of numbers, fields that empty, histories that leave dropped items out."""

from typing import cast

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import LEFT_OUT, ZERO
from clicksmith.errors import CompositionError, UsageError
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models import MODELS
from clicksmith.plan import FoundBy, KeptFeatures, KeptFields, Plan
from clicksmith.plan.apply import apply_plan, numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST
from clicksmith.schema import Categorical, Label, Numeric, Schema
from clicksmith.schema.columns import Bag, Behaviour
from clicksmith.schema.schema import SideTable
from clicksmith.search.emptied import emptied
from clicksmith.search.gates import DenseGates, FeatureGate, FeatureGateModule, LazyGates
from clicksmith.search.job import search
from clicksmith.search.optfs import OptFS, gated_spec
from clicksmith.serve.artifact import load as load_artifact
from clicksmith.serve.predictor import load
from clicksmith.testing.subject import Subject
from clicksmith.train.dense import DenseOptimizer

BY = FoundBy(method="test")
NUMBERS = ("price", "age")


# ---- gates of numbers


def gate(c=(0.3, -0.2)):
    module = cast("FeatureGateModule", FeatureGate(numbers=NUMBERS).build((("a", 5),)))
    with torch.no_grad():
        module.numbers[0].copy_(torch.tensor(c).unsqueeze(1))
        module.temperature.fill_(3.0)
    return module


@pytest.mark.parametrize("name", ["deepfm", "lr", "dcnv2", "finalmlp", "ffm"])
def test_numbers_with_their_gates_at_the_start_leave_the_plain_model_and_shut_ones_leave_no_trace(name):
    spec = MODELS[name]()
    subject = Subject(MODELS[name], spec)
    plain, model = subject.model(), subject.model(spec=gated_spec(spec, 0.5, NUMBERS))
    model.load_state_dict(model.state_dict() | plain.state_dict())
    inputs = subject.inputs(16)
    torch.testing.assert_close(model(inputs).logits, plain(inputs).logits, rtol=0, atol=0)
    own = cast("FeatureGateModule", model.embedder.gate)
    with torch.no_grad():
        own.numbers[0][NUMBERS.index("price")] = -1e4
    price = [c.name for c in subject.layout.numeric].index("price")
    logits = model(inputs).logits
    inputs.numeric[:, price] = torch.where(torch.arange(16) % 2 == 0, torch.nan, 9.0)
    assert torch.equal(model(inputs).logits, logits)
    assert not torch.equal(plain(inputs).logits, logits)


def test_the_gates_of_numbers_pay_the_penalty_in_both_ways_of_moving_them():
    for kind in (DenseGates, LazyGates):
        module = gate()
        mover = kind(module, 0.4)
        if isinstance(mover, DenseGates):
            mover.adam = DenseOptimizer("sgd", [module.gates, *module.numbers])
        before = module.numbers[0].detach().clone()
        (module.of_numbers(("age",)) * 2.0).sum().backward()
        mover.step(0.1)
        s, scale = torch.sigmoid(3.0 * before), module.scale
        loss = torch.tensor([[0.0], [2.0 * scale]])  # only the age was read
        expected = before - 0.1 * (0.4 + loss) * 3.0 * s * (1 - s)
        torch.testing.assert_close(module.numbers[0].detach(), expected)
        assert module.numbers[0].grad is None
    assert gate().shut_numbers() == {"age"}


def test_without_gates_of_numbers_there_are_none_to_shut():
    module = cast("FeatureGateModule", FeatureGate().build((("a", 5),)))
    assert module.of_numbers(NUMBERS) is None and module.shut_numbers() == set() and module.numbers == ()


# ---- fields of which nothing is kept


def rows(count, seed=0):
    """`user` and `price` say something; `noise` and `dust` do not."""
    random = np.random.default_rng(seed)
    user, noise = random.integers(0, 20, count), random.integers(0, 400, count)
    price, dust = random.normal(size=count), random.normal(size=count)
    click = random.random(count) < 1 / (1 + np.exp(-(np.where(user % 2, 1.5, -1.5) + 1.5 * price)))
    return pl.DataFrame({
        "user": [f"u{x}" for x in user], "noise": [f"n{x}" for x in noise], "price": price, "dust": dust,
        "click": click.astype(int),
    })  # fmt: skip


SCHEMA = Schema(
    fields=(Categorical("user"), Categorical("noise"), Numeric("price"), Numeric("dust")), label=Label("click")
)
FAST = {"batch_size": 128, "learning_rate": 0.02, "monitor": "auc"}


def test_fields_of_noise_leave_the_model_and_raw_rows_need_them_no_more(tmp_path):
    class Heard(Quiet):
        lines: list[str] = []  # noqa: RUF012

        def noted(self, text):
            self.lines.append(text)

    plan = search(
        "optfs", rows(3000), valid=rows(1000, 1), schema=SCHEMA, backbone="fm", model_options={"dim": 4}, settings=FAST,
        options={"epochs": 5, "penalty": 4e-3, "drop_empty_fields": True}, out=tmp_path / "plan.json", progress=Heard(),
    )  # fmt: skip
    fields, features = plan.parts
    assert isinstance(fields, KeptFields) and isinstance(features, KeptFeatures)
    assert fields.drop == {"noise": "no feature of it is kept", "dust": "its gate is shut"}
    assert list(features.slots) == ["user"]
    assert any("of 'noise' none of" in line for line in Heard.lines)
    found = {}
    for name, under in (("plain", ()), ("small", tmp_path / "plan.json")):
        run = fit(rows(3000), valid=rows(1000, 1), schema=SCHEMA, model="deepfm", plan=under, out=tmp_path / name,
                  options={"dim": 4, "units": (8,)}, settings=FAST, epochs=4)  # fmt: skip
        found[name] = run.metrics["valid"]["auc"]
    assert found["small"] > found["plain"] - 0.005
    assert load_artifact(run.path).encoder.layout.order == ("user", "price")
    assert np.isfinite(load(run.path).predict(rows(5, 2).select("user", "price"))).all()


def test_fields_too_few_for_the_backbone_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    def only_users(gate):
        return {slot: np.arange(count) < (FIRST if slot == "noise" else count) for slot, count in gate.slots}

    monkeypatch.setattr(FeatureGateModule, "kept", only_users)
    two = Schema(fields=(Categorical("user"), Categorical("noise")), label=Label("click"))
    asked = {"valid": rows(100, 1), "schema": two, "options": {"epochs": 1, "drop_empty_fields": True}}
    told = r"of the fields noise nothing is kept, .* multiplies pairs .*smaller --search\.penalty, or leave --sea"
    with pytest.raises(UsageError, match=told):
        search("optfs", rows(300), backbone="fm", out=tmp_path / "plan.json", **asked)
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json.search"]
    plan = search("optfs", rows(300), backbone="lr", out=tmp_path / "one.json", **asked)
    assert isinstance(plan.parts[0], KeptFields) and list(plan.parts[0].drop) == ["noise"]


def test_a_field_that_something_needs_stays_and_says_for_whom():
    schema = Schema(
        fields=(Categorical("item"), Categorical("last", share="item"), Categorical("user"), Numeric("price")),
        label=Label("click"), group="user", behaviours=(Behaviour("seen", of="item", separator="|"),),
    )  # fmt: skip
    data = {"item": ["a", "b"], "last": ["b", "a"], "user": ["u", "v"], "price": [1, 2], "seen": ["", "a"]}
    layout = Encoder.fit(schema, pl.DataFrame({**data, "click": [0, 1]})).layout
    drop, notes = emptied(schema, layout, {"item", "user"}, {"price"})
    assert drop == {"price": "its gate is shut"}
    assert sorted(notes) == [
        "'item' stays, though no feature of it is kept: the behaviour 'seen' needs it",
        "'last' stays, though no feature of it is kept: 'item' needs it",  # the numbers of both are one
        "'user' stays, though no feature of it is kept: the schema's group needs it",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop_empty_fields": True, "rewind": 0}, "rewind and drop_empty_fields exclude each other"),
        ({"drop_from_history": True, "dropped_to": "unseen"}, "drop_from_history goes with dropped_to=zero"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        OptFS(**options)


def test_numbers_that_a_backbone_makes_one_field_of_are_refused(tmp_path):
    with pytest.raises(CompositionError, match="makes one field of all numbers; leave drop_empty_fields out"):
        search("optfs", rows(300), schema=SCHEMA, backbone="dlrm", options={"drop_empty_fields": True},
               out=tmp_path / "plan.json")  # fmt: skip


# ---- histories that leave dropped items out

HISTORIES = Schema(
    fields=(Categorical("item"), Categorical("kind"), Bag("liked", separator="|", share="item"), Categorical("user")),
    label=Label("click"),
    behaviours=(Behaviour("seen", of="item", separator="|", max_length=4),),
    tables=(SideTable("users", "users.csv", "user"),),
)
USERS = pl.DataFrame({"user": ["u", "v", "w"], "seen": ["a|b|a|c", "b|b", ""]})
CLICKS = pl.DataFrame({
    "item": ["a", "b", "c", "d", "a", "a", "b"], "kind": ["x", "y", "x", "y", "x", "y", "x"],
    "liked": ["a|b", "b", "", "c|b", "a", "d", "b|c"], "user": ["u", "v", "w", "u", "v", "w", "u"],
    "click": [0, 1, 0, 1, 0, 1, 0],
})  # fmt: skip


def test_dropped_items_are_left_out_of_histories_and_stay_zero_elsewhere(tmp_path):
    plain = Encoder.fit(HISTORIES, CLICKS, tables={"users": USERS})
    at = numbering(plain)
    mask = np.array([True, True, *(value != "b" for value in plain.values("item"))])
    found = {}
    for leave in (False, True):
        part = KeptFeatures(
            slots={"item": Array(mask)}, numbering={"item": at["item"]}, drop_from_history=leave, found_by=BY
        )
        found[leave] = apply_plan(Plan(parts=(part,)), plain).encoder
    assert found[True].digest != found[False].digest and found[True].layout == found[False].layout
    zeros, left = found[False].encode(CLICKS), found[True].encode(CLICKS)
    np.testing.assert_array_equal(left.ids, zeros.ids)
    np.testing.assert_array_equal(left.bags["liked"], zeros.bags["liked"])
    assert (zeros.ids == ZERO).any() and not (left.ids == LEFT_OUT).any()
    a, c = (int(found[True].encode(CLICKS.filter(pl.col("item") == v)).ids[0, 0]) for v in "ac")
    where = {user: int(i) for user, i in zip("uvw", zeros.owner[[0, 1, 2]], strict=True)}
    for user, before, after in (
        ("u", [a, ZERO, a, c], [0, a, a, c]), ("v", [0, 0, ZERO, ZERO], [0] * 4), ("w", [0] * 4, [0] * 4)
    ):  # fmt: skip
        assert zeros.histories["seen"][where[user], :, 0].tolist() == before
        assert left.histories["seen"][where[user], :, 0].tolist() == after
    found[True].save(tmp_path / "encoder")
    back = Encoder.load(tmp_path / "encoder")
    assert back.digest == found[True].digest
    np.testing.assert_array_equal(back.encode(CLICKS).histories["seen"], left.histories["seen"])


def test_in_a_log_too_and_one_part_that_leaves_out_is_enough():
    schema = msgspec.structs.replace(HISTORIES, tables=())
    log = CLICKS.join(USERS, on="user", how="left")
    plain = Encoder.fit(schema, log)
    at = {"item": numbering(plain)["item"]}
    values = plain.values("item")
    parts = [
        KeptFeatures(
            slots={"item": Array(np.array([True, True, *(v != gone for v in values)]))}, numbering=at,
            drop_from_history=leave, found_by=BY,
        )
        for gone, leave in (("b", False), ("b", True), ("a", False))
    ]  # fmt: skip
    for order in ((0, 1, 2), (2, 1, 0)):
        encoder = apply_plan(Plan(parts=tuple(parts[i] for i in order)), plain).encoder
        c = int(encoder.encode(log.filter(pl.col("item") == "c")).ids[0, 0])
        assert encoder.encode(log).histories["seen"][0, :, 0].tolist() == [0, ZERO, ZERO, c]
        assert encoder.encode(log.head(1).to_dicts()).histories["seen"][0, :, 0].tolist() == [0, ZERO, ZERO, c]


def test_a_plan_that_leaves_forgotten_values_out_is_refused():
    with pytest.raises(UsageError, match="drop_from_history goes with dropped_to 'zero'"):
        Plan(parts=(KeptFeatures(slots={}, dropped_to="unseen", drop_from_history=True, found_by=BY),))


def test_the_search_writes_it_into_its_plan(tmp_path):
    random = np.random.default_rng(0)
    items, item = [f"i{x:02}" for x in range(40)], random.integers(0, 40, 800)
    chance = np.where(item < 8, np.where(item % 2, 0.95, 0.05), 0.5)  # the other items say nothing
    log = pl.DataFrame({
        "item": [items[x] for x in item], "kind": random.choice(["x", "y"], 800),
        "seen": ["|".join(random.choice(items, 3)) for _ in range(800)],
        "click": (random.random(800) < chance).astype(int),
    })  # fmt: skip
    schema = Schema(
        fields=(Categorical("item"), Categorical("kind")), label=Label("click"),
        behaviours=(Behaviour("seen", of="item", separator="|", max_length=3),),
    )  # fmt: skip
    plan = search(
        "optfs", log, schema=schema, backbone="din", model_options={"dim": 4, "units": (8,)}, settings=FAST,
        options={"epochs": 4, "penalty": 4e-3, "gate_rate": 0.05, "drop_from_history": True}, out=tmp_path / "p.json",
    )  # fmt: skip
    (part,) = plan.parts
    assert isinstance(part, KeptFeatures) and part.drop_from_history and not part.slots["item"].values.all()
    assert "left out of histories" in plan.summary()[0]
    run = fit(log, schema=schema, model="din", options={"dim": 4, "units": (8,)}, plan=plan, epochs=1,
              out=tmp_path / "run")  # fmt: skip
    assert np.isfinite(load(run.path).predict(log.head(9).drop("click"))).all()
