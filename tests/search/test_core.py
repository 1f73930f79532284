"""The core of the searches: rows kept apart, batches of the search's own rows, start files."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from clicks import clicks as frame
from clicksmith.encode.picked import Picked
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.models import model_spec
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.dnis.method import DNIS
from clicksmith.search.gates import FeatureGateModule
from clicksmith.search.job import divided, search
from clicksmith.search.knobs import KnobBatches, knob_gradients, knob_loss
from clicksmith.search.methods import SEARCHES
from clicksmith.search.optfs import gated_spec
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.hook import Hook
from clicksmith.train.settings import TrainSettings
from clicksmith.train.start import load_start, save_start, start_digest
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train as train_model
from train.worlds import LAYOUT, clicks


def test_rows_of_the_knobs_are_taken_off_by_the_seed_and_no_row_is_in_both():
    store = clicks(500)
    train, knobs = divided(store, 0.2, 3)
    assert knobs is not None and (train.rows, knobs.rows) == (400, 100)
    price = [part.slice(0, part.rows).numeric[:, 0] for part in (train, knobs)]
    whole = store.slice(0, 500).numeric[:, 0]
    np.testing.assert_array_equal(np.sort(np.concatenate(price)), np.sort(whole))
    again = divided(store, 0.2, 3)[1]
    other = divided(store, 0.2, 4)[1]
    assert again is not None and other is not None
    assert knobs.digest == again.digest != other.digest
    assert divided(store, 0, 3) == (store, None)
    with pytest.raises(DataError, match="too few to train on"):
        divided(clicks(4), 0.2, 0)


def test_groups_that_stay_whole_are_on_one_side_of_what_a_search_divides():
    store = clicks(500, group=True)
    train, knobs = divided(store, 0.2, 3, "user")
    assert knobs is not None and train.rows + knobs.rows == 500 and 60 < knobs.rows < 140
    users = [set(part.targets["group"].tolist()) for part in (train, knobs)]
    assert not users[0] & users[1] and users[0] | users[1] == set(store.targets["group"].tolist())
    rows = store.slice(0, 500)
    one = Store.of(replace(rows, group=np.zeros(500, np.int64)), store.layout)
    with pytest.raises(
        DataError, match=r"0.2 of 500 training rows, of 1 groups of 'user' that stay whole, .* Give more groups, or"
    ):
        divided(one, 0.2, 3, "user")


@pytest.mark.parametrize("method", ["dnis", "optinter"])
@pytest.mark.parametrize(("split", "whole"), [("group", True), ("random", False)])
def test_a_search_keeps_groups_whole_where_its_rows_are_split_by_them(tmp_path, monkeypatch, method, split, whole):
    found = []
    monkeypatch.setitem(SEARCHES, method, replace(SEARCHES[method], run=lambda asked, _: found.append(asked) or ()))
    fields = (Categorical("user"), Categorical("ad"))
    schema = Schema(fields=fields, label=Label("click"), group="user")
    search(method, frame(400), schema=schema, backbone="fm", split=split, out=tmp_path / "plan.json")
    (asked,) = found
    parts = [set(part.targets["group"].tolist()) for part in (asked.train, asked.knobs, asked.valid)]
    assert (sum(map(len, parts)) == len(set.union(*parts))) == whole
    assert asked.group == ("user" if whole else None)


def test_options_of_another_search_are_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"given are DNIS\(\.\.\.\), .* optfs has its own, OptFS\(\.\.\.\)"):
        search("optfs", frame(100), label="click", backbone="fm", options=DNIS(), out=tmp_path / "plan.json")


def test_picked_rows_are_those_of_the_store():
    store = clicks(50)
    numbers = np.array([40, 3, 7])
    picked, whole = Picked(store, numbers), store.slice(0, 50)
    np.testing.assert_array_equal(picked.take(np.array([2, 0])).ids, whole.ids[[40, 3]])
    np.testing.assert_array_equal(picked.slice(0, 10).ids, whole.ids[[3, 7, 40]])
    np.testing.assert_array_equal(picked.targets["labels"], whole.labels[[3, 7, 40]])


def test_batches_of_the_knobs_do_not_depend_on_where_one_begins():
    store = clicks(70)
    whole, late = KnobBatches(store, 16, seed=1), KnobBatches(store, 16, seed=1)
    seen = [whole.batch(i).inputs.ids for i in range(12)]
    for i in (7, 8, 9, 10, 11):
        torch.testing.assert_close(late.batch(i).inputs.ids, seen[i])
    assert not torch.equal(seen[0], seen[5])
    assert sum(len(ids) for ids in seen[:5]) == 70


def test_batches_of_the_knobs_leave_out_negatives_as_training_does():
    store = clicks(400)
    clicked = int(store.targets["labels"].sum())
    few = KnobBatches(store, 1_000, seed=1, negative_rate=0.1)
    labels = few.batch(0).targets.labels
    assert int(labels.sum()) == clicked and len(labels) == clicked + round(0.1 * (400 - clicked))


def test_a_start_file_fits_its_model_and_no_other(tmp_path):
    spec, path = model_spec("fm", dim=4), tmp_path / "start.safetensors"
    one, two = new_model(spec, LAYOUT, 0), new_model(spec, LAYOUT, 1)
    save_start(one, "ids", path)
    load_start(two, "ids", path)
    for name, tensor in weights_of(one).items():
        torch.testing.assert_close(weights_of(two)[name], tensor, rtol=0, atol=0)
    for other, ids in ((new_model(model_spec("fm", dim=5), LAYOUT, 0), "ids"), (two, "of another map")):
        with pytest.raises(
            UsageError, match=r"weights of another model: .* the same training rows, backbone and options"
        ):
            load_start(other, ids, path)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"is damaged: its weights have another checksum"):
        load_start(two, "ids", path)
    path.write_bytes(b"none")
    with pytest.raises(ArtifactError, match="cannot read the start file"):
        load_start(two, "ids", path)
    with pytest.raises(ArtifactError, match="cannot read the start file"):
        start_digest(path)  # which `fit` asks for before it encodes rows


class Bilevel(Hook):
    """Takes the gradient of the gates on rows of their own, and looks at what it left elsewhere."""

    def __init__(self, gate: FeatureGateModule, batches: KnobBatches) -> None:
        self.gate, self.batches, self.found = gate, batches, list[torch.Tensor]()

    def attach(self, stepper: Stepper) -> None:
        self.stepper = stepper
        stepper.optimizers.rows.release(self.gate.store)

    def after_step(self, step: int, rate: float) -> None:  # noqa: ARG002
        loss = knob_loss(self.stepper, self.batches.batch(step - 1))
        unused = torch.zeros(2, requires_grad=True)
        gates, none = knob_gradients(loss, [self.gate.gates, unused])
        assert not none.any()
        optimizers = self.stepper.optimizers
        assert optimizers.rows.square_sum() == 0
        assert all(p.grad is None for p in optimizers.dense.weights)
        self.found.append(gates)


def test_gradients_of_the_knobs_leave_the_weights_alone():
    train, knobs = divided(clicks(200), 0.25, 0)
    assert knobs is not None
    plain, model = (new_model(gated_spec(model_spec("fm", dim=4), 0.5), LAYOUT, 0) for _ in range(2))
    hook = Bilevel(cast("FeatureGateModule", model.embedder.gate), KnobBatches(knobs, 32, seed=0))
    settings = TrainSettings(epochs=1, batch_size=50, learning_rate=0.1)
    train_model(model, train, None, settings, hook=hook)
    assert len(hook.found) == 3
    assert all(bool(found.any()) for found in hook.found)
    quiet = Bilevel(cast("FeatureGateModule", plain.embedder.gate), hook.batches)
    quiet.after_step = lambda step, rate: None
    train_model(plain, train, None, settings, hook=quiet)
    for name, tensor in weights_of(plain).items():
        torch.testing.assert_close(weights_of(model)[name], tensor, rtol=0, atol=0)
