"""OptEmbed beyond its parts: what sizes are measured, what moves thresholds, which rows choose, what is told."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from ranked_world import ranked

from clicksmith.batch.batch import batch_of
from clicksmith.encode.layout import UNSEEN
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.job import fit
from clicksmith.fitting.told import Quiet
from clicksmith.models import model_spec
from clicksmith.plan import Plan
from clicksmith.search.job import search
from clicksmith.search.optembed import method
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.supernet import supernet
from clicksmith.serve.artifact import load
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from search.features_world import NAMES, SCHEMA, planted

SMALL = ranked(800, 0)
INPUTS = batch_of(SMALL.take(np.arange(100))).inputs
FAST = {"batch_size": 256, "learning_rate": 0.01, "epochs": 2, "monitor": "auc"}


class Heard(Quiet):
    def __init__(self):
        self.notes, self.lines = [], []

    def noted(self, text):
        self.notes.append(text)

    def said(self, text):
        self.lines.append(text)


def supernet_of(**options):
    model = new_model(supernet(model_spec("fm", dim=4), OptEmbed(**options), SMALL.layout), SMALL.layout, 0)
    model.embedder.gate.watch(model.embedder)
    return model, model.embedder.gate


@pytest.mark.parametrize("widths", [None, 1])
def test_the_size_of_an_id_is_that_of_its_whole_vector_whatever_width_was_drawn(widths):
    model, gate = supernet_of()
    table = model.embedder.columns.table
    table.inner.store.reset(0.3)
    table.choose(None if widths is None else dict.fromkeys(table.slots, widths))
    model.train()
    ids = torch.arange(2, 32, dtype=torch.int32).unsqueeze(1)
    vectors = table.inner.store.weight[table.inner.store.starts["user"] + torch.arange(2, 32)].detach()
    torch.testing.assert_close(gate.sizes(ids, ("user",))[:, 0].detach(), vectors.abs().sum(1))


def test_above_every_size_all_ids_are_mute_and_the_logits_are_constant():
    model, gate = supernet_of()
    gate.thresholds.fill_(1e9)
    logits = model.eval()(INPUTS).logits
    assert torch.equal(logits, logits[:1].expand_as(logits))
    gate.thresholds.fill_(0.0)
    assert model(INPUTS).logits.std() > 0


def test_no_decay_reaches_the_thresholds():
    model, gate = supernet_of(threshold_rate=0.0)
    gate.thresholds.fill_(0.3)
    settings = TrainSettings(epochs=2, batch_size=100, table_l2=0.1, l2_mode="dense", dense_l2=0.1, device="cpu")
    train(model, SMALL, None, settings)
    assert gate.thresholds.tolist() == [pytest.approx(0.3)] * len(gate.thresholds)


def test_a_vocabulary_that_is_pruned_whole_is_noted_with_its_size_and_the_others_stay():
    heard = Heard()

    def fixed(self):
        found = {name: np.ones(rows, bool) for name, rows in self.slots}
        found["rank3"][UNSEEN + 1 :] = False
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method.ThresholdGate, "kept", fixed)
        result = method.search_optembed(
            model_spec("fm", dim=4), SMALL, None, SMALL, TrainSettings(epochs=1, batch_size=400, device="cpu"),
            OptEmbed(generations=1), progress=heard,
        )  # fmt: skip
    assert "of 'rank3' all 30 ids are pruned" in heard.notes
    assert sum(line.startswith("250 of 280 ids kept (thresholds ") for line in heard.lines) == 1
    assert tuple(heard.notes) == result.notes


def test_the_rows_that_end_the_training_and_those_that_choose_are_two_halves_of_validation(tmp_path, monkeypatch):
    """No test rows are read: the search's record names none."""
    parts = []

    def noted(spec, train, stop, select, *rest, **how):
        parts.append((train, stop, select))
        return search_optembed(spec, train, stop, select, *rest, **how)

    search_optembed = method.search_optembed
    monkeypatch.setattr(method, "search_optembed", noted)
    rows = planted(2000).with_columns(price=pl.Series(np.arange(2000.0)))  # every row is told by its price
    search("optembed", rows, label="click", backbone="fm", model_options={"dim": 4}, settings=FAST,
           options={"generations": 1}, out=tmp_path / "plan.json")  # fmt: skip
    found = [{float(x) for x in part.slice(0, part.rows).numeric[:, 0]} for part in parts[0]]
    assert [len(prices) for prices in found] == [1600, 100, 100]
    assert len(set.union(*found)) == 1800
    data = json.loads((tmp_path / "plan.json.search" / "search.json").read_text())["data"]
    assert data and not [name for name in data if "test" in name]


def test_a_plan_survives_its_file_and_what_deepfm_found_trains_dcn(tmp_path):
    rows, valid = planted(3000), planted(600, 1)
    options = {"max_ratio": 0.4, "generations": 2, "alpha": 0.1, "threshold_rate": 0.1}
    plan = search("optembed", rows, valid=valid, schema=SCHEMA, backbone="deepfm", settings=FAST, options=options,
                  model_options={"dim": 4, "units": (8,)}, out=tmp_path / "plan.json")  # fmt: skip
    again = search("optembed", rows, valid=valid, schema=SCHEMA, backbone="deepfm", settings=FAST, options=options,
                   model_options={"dim": 4, "units": (8,)}, out=tmp_path / "again.json")  # fmt: skip
    assert [type(part).__name__ for part in plan.parts] == ["KeptFeatures", "Columns"]
    assert Plan.load(tmp_path / "plan.json") == plan == again
    run = fit(rows, valid=valid, schema=SCHEMA, model="dcn", options={"dim": 4, "units": (8,)}, plan=plan,
              settings=FAST, out=tmp_path / "run")  # fmt: skip
    artifact = load(run.path)
    features, columns = plan.parts
    kept = {name: int(features.slots[name].values.sum()) if name in features.slots else 102 for name in NAMES}
    assert artifact.encoder.layout.rows == kept
    widths = {name: len(columns.slots[name][0].columns) if name in columns.slots else 4 for name in NAMES}
    for name in NAMES:
        ids = torch.arange(2, kept[name], dtype=torch.int32).unsqueeze(1)
        vectors = artifact.model.embedder.columns.table(ids, (name,))[:, 0]
        assert bool((vectors[:, : widths[name]] != 0).all()) and not vectors[:, widths[name] :].any()
    table = sum(p.numel() for p in artifact.model.embedder.columns.table.parameters())
    assert table <= 0.4 * 612 * 5  # of dcn, which has no first-order weights
