"""Rows are facts: named by what was asked, sealed, never replaced; the test rows behind them are scored once."""

import json

import msgspec
import numpy as np
import pytest
import torch
from world import finished

from clicksmith.bench.cost import BASE, flops_per_row, memory_free, memory_needed, peak_memory
from clicksmith.bench.facts import LABELS
from clicksmith.bench.locked import LockedTest
from clicksmith.bench.row import read_array, read_row, write_row
from clicksmith.bench.run import configuration_of
from clicksmith.bench.settings import FOLDER, BenchSettings, ModelSettings, contestants, read_settings, settings_for
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, UnknownNameError, UsageError
from clicksmith.evaluate import auc
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.predict import predict_logits
from published import EARLIER, LATER, MOVIELENS, MOVIELENS_LATER


def row_of(model="FM", seed=0):
    return finished() / "results" / "shop" / model / f"{seed}.json"


def test_a_row_holds_what_was_asked_what_came_out_and_where():
    row = read_row(row_of())
    done = row.done
    assert (row.dataset, row.model, row.seed) == ("shop", "FM", 0)
    assert set(row.configuration.data) == {"train", "valid", "test"}
    assert done.test_evaluations == 1
    assert done.test.rows == 400
    assert {"auc", "logloss", "gauc", "ece", "predicted_over_observed"} <= set(done.test.values)
    assert all(e.low is not None for name, e in done.test.values.items() if name != "ece")
    assert done.cost.parameters == done.cost.embedding + done.cost.dense
    assert done.cost.flops_per_row > 0 and done.cost.peak_memory > 1 << 27 and done.cost.rows_per_second > 0
    assert 0 < done.cost.seconds_to_best <= done.cost.seconds
    assert done.cost.cpu_seconds > 0
    assert [entry["epoch"] for entry in done.curve] == [1, 2]
    assert max(entry["valid"]["auc"] for entry in done.curve) == pytest.approx(done.valid["auc"])
    assert row.made_by.threads == 1 and row.made_by.packages["torch"]


def test_stored_predictions_give_the_figure_of_the_row_again():
    row = read_row(row_of())
    logits = read_array(row_of().with_suffix(".npy"), row.done.predictions, 400)
    labels = read_array(row_of().parent.parent / LABELS, row.done.labels, 400)
    assert logits.dtype == np.float16
    assert auc(labels, logits) == pytest.approx(row.done.test.values["auc"].value, abs=2e-4)


def test_the_name_depends_on_every_part_of_the_configuration_and_on_nothing_else():
    configuration = read_row(row_of()).configuration
    assert configuration.name != read_row(row_of(seed=1)).configuration.name != read_row(row_of("LR")).name
    again = msgspec.convert(dict(reversed(msgspec.to_builtins(configuration).items())), type(configuration))
    assert again.name == configuration.name
    for name, other in {"data": {"train": "x"}, "split": "by hand", "schema": "y", "spec": {}, "settings": {}}.items():
        assert msgspec.structs.replace(configuration, **{name: other}).name != configuration.name


def test_lists_in_another_order_are_another_configuration_and_spelt_out_defaults_are_not(tmp_path):
    def name_of(**options):
        (one,) = contestants(BenchSettings({"X": ModelSettings("dnn", options=options)}), ["X"])
        return configuration_of(Data(), one, 0).name

    class Data:
        checksums, split, schema = {"train": "a"}, "files as given", "s"

    assert name_of(units=[400, 200]) != name_of(units=[200, 400])
    assert name_of(dropout=0) == name_of(dropout=0.0)
    assert name_of() == name_of(dim=16)


def test_a_finished_row_is_never_replaced():
    with pytest.raises(UsageError, match="holds a finished row, and rows are never changed"):
        write_row(finished() / "results", read_row(row_of()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["outcome"]["test"]["values"]["auc"].update(value=0.99), "was changed after it was written"),
        (lambda row: row.update(seed=7), "was changed after it was written"),
        (lambda row: row.update(version=2), "has version 2; this Clicksmith reads version 1"),
        (lambda row: row.update(colour="red"), "is not a row of a benchmark: Object contains unknown field `colour`"),
        (lambda row: row.pop("name"), "is not a row of a benchmark: Object missing required field `name`"),
    ],
)
def test_a_changed_row_is_noticed(tmp_path, change, said):
    row = json.loads(row_of().read_text())
    change(row)
    path = tmp_path / "shop" / "FM" / "0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row))
    with pytest.raises(ArtifactError, match=said):
        read_row(path)


def test_a_row_in_the_place_of_another_is_noticed(tmp_path):
    path = tmp_path / "shop" / "DCN" / "0.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(row_of().read_bytes())
    with pytest.raises(ArtifactError, match="holds the row shop/FM/0, which belongs elsewhere"):
        read_row(path)


def test_altered_predictions_are_noticed(tmp_path):
    path = tmp_path / "0.npy"
    np.save(path, np.zeros(400, np.float16))
    with pytest.raises(ArtifactError, match="was altered"):
        read_array(path, read_row(row_of()).done.predictions, 400)
    with pytest.raises(ArtifactError, match="is missing"):
        read_array(tmp_path / "1.npy", "", 400)


def test_test_rows_are_scored_once():
    stores = [folder.parent for folder in (finished() / "cache").rglob("manifest.json") if folder.parent.name == "rows"]
    store = Store.open(stores[0])
    model = CTRModel(model_spec("lr"), store.layout)
    score = lambda store: predict_logits(model, store)[:, 0]  # noqa: E731
    test = LockedTest(stores[0], before=1)
    logits, rows = test.score(score)
    assert (len(logits), test.evaluations) == (rows.rows, 2)
    with pytest.raises(UsageError, match="the test rows of this trial were evaluated already"):
        test.score(score)
    assert test.evaluations == 2


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_settings_file_of_the_package_gives_models(path):
    settings = read_settings(path)
    assert settings.datasets and settings.models
    found = contestants(settings, ["all"])
    assert [one.title for one in found] == list(settings.models)
    assert all(one.settings.epochs in (50, 100, 200) and one.settings.monitor == "auc" for one in found)
    assert all(0.5 < model.reference < 1 for model in settings.models.values() if model.reference is not None)


def test_without_tuned_settings_every_backbone_enters_with_its_defaults():
    assert [one.title for one in contestants(settings_for("unheard of"), ["all"])] == list(MODELS)


def test_unknown_models_and_settings_are_named_with_the_nearest(tmp_path):
    settings = settings_for("frappe_x1")
    with pytest.raises(UnknownNameError, match=r"no model named 'FinalMPL'. Did you mean 'FinalMLP'?"):
        contestants(settings, ["FinalMPL"])
    assert [one.title for one in contestants(settings, ["fgcnn"])] == ["fgcnn"]
    path = tmp_path / "s.toml"
    path.write_text("[models.X]\nname = 'fm'\noptions = {dimension = 3}\n")
    with pytest.raises(UsageError, match=r"settings of X: fm: no option named 'dimension'. Did you mean 'dim'\?"):
        contestants(read_settings(path), ["all"])
    path.write_text("[models.X]\nname = 'fm'\nlearning_rate = 3\n")
    with pytest.raises(UsageError, match=r"unknown field `learning_rate` - at `\$.models\[...\]`"):
        read_settings(path)
    with pytest.raises(UsageError, match="cannot read the settings"):
        read_settings(tmp_path / "none.toml")


def test_operations_of_a_prediction_are_those_of_its_matrices_and_counting_leaves_no_trace():
    stores = [folder.parent for folder in (finished() / "cache").rglob("manifest.json") if folder.parent.name == "rows"]
    store = Store.open(stores[0])
    model, wider = (CTRModel(model_spec("dnn", dim=4, units=(width, 3)), store.layout) for width in (8, 20))
    flat = model.shapes.fields[-1].flat
    assert flops_per_row(wider, store) - flops_per_row(model, store) == 2 * 12 * (flat + 3)
    assert all(p.requires_grad for p in model.parameters())
    for name in ("finalmlp", "fgcnn", "autoint_plus", "din"):  # gates, convolutions, attention, histories
        assert flops_per_row(CTRModel(model_spec(name), store.layout), store) > 1000


def test_memory_is_estimated_without_building_the_weights():
    layout = Store.open(finished() / next((finished() / "cache").rglob("rows/manifest.json")).parent).layout
    small, large = (memory_needed(model_spec("fm", dim=dim), layout) for dim in (4, 1_000_000))
    rows = sum(slot.rows for slot in layout.slots)
    assert large - small >= (1_000_000 - 4) * rows * 4
    assert peak_memory("cpu") > 1 << 27


PUBLISHED = {
    "frappe_x1": {
        "FinalMLP": 253_392, "FinalNet_2B": 338_502, "DESTINE": 623_346, "EDCN": 86_351, "AutoInt+": 622_180,
        "DCNv2": 458_391, "xDeepFM": 429_809, "DeepIM": 417_922, "AOANet": 418_331, "DeepFM": 423_280,
        "IPNN": 433_491, "Wide&Deep": 423_280, "DLRM": 417_891, "DCN": 418_591, "MaskNet": 571_691,
        "FiBiNET": 743_480, "DSSM": 739_490, "AutoInt": 306_051, "HFM+": 563_281, "AFN+": 4_482_205, "AFN": 4_066_711,
        "NFM": 384_880, "SAM": 58_791, "FFM": 490_400, "CIN": 147_984, "FwFM": 107_826, "FiGNN": 89_090,
        "FmFM": 59_730, "HOFM": 113_170, "CrossNet-V2": 94_391, "AFM": 60_826, "FM": 59_280, "CrossNet": 55_191,
        "HFM": 59_290, "LR": 5_390,
    },
    "movielenslatest_x1": {
        "FinalNet_2B": 1_106_234, "FinalMLP": 1_040_902, "IPNN": 1_237_191, "xDeepFM": 1_351_767,
        "DESTINE": 1_274_821, "AOANet": 1_239_113, "DeepIM": 1_238_542, "AutoInt+": 1_383_799, "DCNv2": 1_243_071,
        "DLRM": 1_238_391, "Wide&Deep": 1_328_630, "DCN": 1_238_661, "DSSM": 1_559_990, "DeepFM": 1_328_630,
        "CIN": 1_002_390, "MaskNet": 2_624_541, "EDCN": 904_701, "AutoInt": 1_047_798, "AFN+": 3_742_791,
        "SAM": 902_984, "AFN": 2_506_797, "CrossNet-V2": 909_861, "FiBiNET": 1_340_790, "HFM+": 1_328_631,
        "FwFM": 1_804_784, "FFM": 1_895_020, "FiGNN": 910_440, "NFM": 1_318_230, "AFM": 992_832, "FmFM": 992_660,
        "HOFM": 992_630, "CrossNet": 902_841, "FM": 992_630, "HFM": 992_640, "LR": 90_240,
    },
}  # fmt: skip
"""Parameters in BARS' logs; YoutubeDNN's count the dense layers twice."""
LAYOUTS = {"frappe_x1": (EARLIER, LATER), "movielenslatest_x1": (MOVIELENS, MOVIELENS_LATER)}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_tuned_models_have_the_parameters_that_the_benchmark_logged(dataset):
    published = PUBLISHED[dataset]
    for one in contestants(settings_for(dataset), list(published)):
        layout = LAYOUTS[dataset][one.title in ("FinalMLP", "FinalNet_2B")]  # run with a later version
        with torch.device("meta"):
            found = CTRModel(one.spec, layout).parameter_counts().total
        # two heads joined have one constant less; AFN+ joins two logits by a layer of its own there
        assert published[one.title] - found in ((4,) if one.title == "AFN+" else (0, 1)), one.title


def test_models_named_beside_all_enter_after_them():
    settings = BenchSettings({"FM": ModelSettings("fm"), "LR": ModelSettings("lr")})
    assert [one.title for one in contestants(settings, ["dnn", "all", "LR"])] == ["FM", "LR", "dnn"]
    with pytest.raises(UnknownNameError, match=r"no model named 'dnnn'. Did you mean 'dnn'"):
        contestants(settings, ["all", "dnnn"])


def test_memory_of_a_container_that_files_fill_is_free_and_never_less_than_a_trial_takes(tmp_path):
    meminfo, gigabyte = tmp_path / "meminfo", 1 << 30
    meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable: {32 << 20} kB\n")
    assert memory_free(meminfo, tmp_path) == round(32 * gigabyte * 0.8)
    (tmp_path / "memory.max").write_text(f"{16 * gigabyte}\n")
    (tmp_path / "memory.current").write_text(f"{15 * gigabyte}\n")
    assert memory_free(meminfo, tmp_path) == BASE
    (tmp_path / "memory.stat").write_text(f"anon 1\nactive_file 7\ninactive_file {9 * gigabyte}\n")
    assert memory_free(meminfo, tmp_path) == round(10 * gigabyte * 0.8)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_free(meminfo, tmp_path) == round(32 * gigabyte * 0.8)
