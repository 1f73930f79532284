"""The supernet must learn while its thresholds rise."""

import msgspec
import pytest

from clicksmith.encode.encoder import Encoder
from clicksmith.fitting.asked import new_model
from clicksmith.models import model_spec
from clicksmith.search.optembed import supernet as drawing
from clicksmith.search.optembed.method import outrun
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.supernet import supernet
from clicksmith.testing.layouts import LAYOUTS
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from search.features_world import NAMES, SCHEMA, planted

STILL = OptEmbed(threshold_rate=0.0)


def test_vectors_are_drawn_widely_where_thresholds_rise_and_plainly_where_they_do_not():
    layout, spec = LAYOUTS["ids"], model_spec("deepfm", dim=4)
    rows = sum(layout.rows.values())
    drawn = supernet(spec, OptEmbed(), layout).embed
    assert drawn.table.inner.std == pytest.approx((2 / (rows + 4)) ** 0.5)
    assert drawn.view_table == spec.embed.view_table  # their sizes are compared with nothing
    assert supernet(spec, STILL, layout).embed.table.inner == spec.embed.table
    table = new_model(supernet(spec, OptEmbed(), layout), layout, 0).embedder.columns.table.inner.store.weight
    assert float(table.detach().std()) == pytest.approx((2 / (rows + 4)) ** 0.5, rel=0.2)
    linear = model_spec("lr")  # without main vectors it is the views' rows that are measured
    assert supernet(linear, OptEmbed(), layout).embed.view_table.std == pytest.approx((2 / (rows + 1)) ** 0.5)
    assert supernet(linear, STILL, layout).embed == msgspec.structs.replace(
        linear.embed, ids=supernet(linear, STILL, layout).embed.ids
    )


def trained(spec, stores, layout):
    """Train while validation AUC rises, at the speed of small data; return the model and its best AUC."""
    model = new_model(spec, layout, 0)
    if model.embedder.gate is not None:
        model.embedder.gate.watch(model.embedder)
    settings = TrainSettings(epochs=5, batch_size=64, learning_rate=1e-3, table_l2=0.05, device="cpu", patience=3)
    result = train(model, *stores, settings)
    return model, max(entry["valid"]["auc"] for entry in result.history)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    rows, at = planted(12_000), tmp_path_factory.mktemp("rows")
    encoder = Encoder.fit(SCHEMA, rows)
    return encoder.layout, [encoder.encode_to(part, at / name) for name, part in (("t", rows), ("v", planted(3000, 1)))]


@pytest.mark.parametrize(("name", "options"), [("fm", {"dim": 8}), ("dnn", {"dim": 8, "units": (16,)})])
def test_the_default_thresholds_drop_the_fields_of_noise_and_cost_no_auc(name, options, encoded):
    layout, stores = encoded
    spec = model_spec(name, **options)
    _, plain = trained(spec, stores, layout)
    model, auc = trained(supernet(spec, OptEmbed(), layout), stores, layout)
    kept = {field: float(mask[2:].mean()) for field, mask in model.embedder.gate.kept().items()}
    assert auc > plain - 0.005
    assert min(kept[field] for field in NAMES[:3]) - max(kept[field] for field in NAMES[3:]) >= 0.4, kept


def test_thresholds_do_not_silence_ids_before_these_have_learned(encoded, monkeypatch):
    """With small first vectors, as the plain model begins, the supernet of the same options stalls."""
    layout, stores = encoded
    spec = model_spec("dnn", dim=8, units=(16,), dropout=0.0)
    _, learned = trained(supernet(spec, OptEmbed(), layout), stores, layout)
    monkeypatch.setattr(drawing, "wide", lambda table, *_: table)
    _, stalled = trained(supernet(spec, OptEmbed(), layout), stores, layout)
    assert stalled < learned - 0.04


def test_only_a_fall_under_rising_thresholds_is_worth_a_note():
    def history(*scores):
        return [{"valid": {"auc": score}} for score in scores]

    assert outrun(history(0.7, 0.75, 0.745), OptEmbed()) == []
    assert outrun(history(0.75, 0.6), STILL) == []
    assert outrun([{"valid": {"gauc": 0.5}}, {}], OptEmbed()) == []
    (note,) = outrun(history(0.75, 0.6), OptEmbed())
    assert note.startswith("validation AUC fell from 0.7500 to 0.6000 while thresholds rose: they outran the vectors")
    assert "alpha (0.0005)" in note
