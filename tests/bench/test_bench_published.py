"""Published leaderboards: read whole, compared with what is measured under the name of the model, and marked."""

from collections import Counter

import msgspec
import pytest
from world import copied, finished

from clicksmith.bench.published import SOURCE, leaderboards, plain, published
from clicksmith.bench.results import read_results
from clicksmith.bench.settings import BenchSettings, ModelSettings, settings_for
from clicksmith.bench.site import write_site
from clicksmith.bench.table import tables
from clicksmith.models import MODELS
from clicksmith.papers import PAPERS


def test_thirteen_leaderboards_of_359_rows_ship():
    counts = Counter({name: len(lines) for name, lines in leaderboards().items()})
    assert counts.total() == 359
    assert counts == {
        "frappe_x1": 36, "movielenslatest_x1": 36, "avazu_x1": 35, "criteo_x1": 35, "avazu_x4_001": 34,
        "criteo_x4_001": 33, "avazu_x4_002": 29, "criteo_x4_002": 29, "kkbox_x1": 28, "amazonelectronics_x1": 16,
        "kuaivideo_x1": 16, "microvideo1.7m_x1": 16, "taobaoad_x1": 16,
    }  # fmt: skip


def test_three_rows_of_the_leaderboards_are_not_what_their_logs_say():
    wrong = {
        (line.dataset, line.model)
        for lines in leaderboards().values()
        for line in lines
        if (line.log_auc is not None and abs(line.auc - line.log_auc) > 6e-5)
        or (None not in (line.logloss, line.log_logloss) and abs(line.logloss - line.log_logloss) > 6e-5)
    }
    assert wrong == {("avazu_x1", "AFN+"), ("avazu_x1", "FiBiNET"), ("avazu_x4_002", "NFM")}


def test_a_row_is_compared_with_the_trial_that_is_best_on_validation():
    board = published("frappe_x1")
    assert (board["autointplus"].auc, board["autointplus"].reference) == (0.9848, 0.983979)
    untold = [line for line in board.values() if line.auc_of_valid_best is None]
    assert untold and all(line.reference == line.auc for line in untold)
    assert board["finalmlp"].parameters == 253_392


def test_what_stands_in_for_a_data_set_has_its_leaderboard_and_protocols_have_their_own():
    assert published("frappe_x1_rebuilt") == published("frappe_x1")
    assert published("criteo_x4") == published("criteo_x4_001") != published("criteo_x4_002")
    assert published("my shop") == {}
    assert published("taobaoad_x1_published") == published("taobaoad_x1") != {}


@pytest.mark.parametrize("dataset", ["frappe_x1", "movielenslatest_x1"])
def test_every_published_model_of_a_tuned_data_set_has_settings(dataset):
    titles = {plain(title) for title in settings_for(dataset).models}
    assert set(published(dataset)) <= titles


def test_published_names_are_those_of_backbones():
    known = {plain(name) for name in MODELS} | {"crossnet", "crossnetv2", "cin", "finalnet2b", "dcnv2"}
    sequence_models = {"bst", "dien", "dmin", "dmr"}  # of the four sets with behaviours
    assert {plain(line.model) for lines in leaderboards().values() for line in lines} - known <= sequence_models


def renamed(folder, dataset: str, titles: dict[str, str]) -> None:
    """Make the rows of a finished benchmark those of another data set and other models."""
    from clicksmith.bench.row import read_row, write_row

    results = folder / "results"
    for path in sorted((results / "shop").rglob("*.json")):
        row = read_row(path)
        new = msgspec.structs.replace(row, dataset=dataset, model=titles[row.model])
        write_row(results, new)
        path.with_suffix(".npy").rename(new.path(results).with_suffix(".npy"))
        path.unlink()
    for path in (results / "shop").glob("*.npy"):
        path.rename(results / dataset / path.name)


def test_a_measured_model_stands_beside_the_published_one_whatever_its_title(tmp_path):
    folder = copied(tmp_path)
    renamed(folder, "avazu_x1", {"FM": "fm", "LR": "Wide & Deep"})
    (table,) = tables(read_results(folder / "results"))
    found = {line.standing.model: line.reference for line in table.lines}
    board = published("avazu_x1")
    assert found == {"fm": board["fm"].reference, "Wide & Deep": board["widedeep"].reference}
    assert table.source == SOURCE and "FM" not in table.unmeasured and len(table.unmeasured) == 33
    own = BenchSettings({"the one": ModelSettings("fm", reference=0.9), "fm": ModelSettings("fm", reference=0.8)})
    (table,) = tables(read_results(folder / "results"), settings=own)
    assert {line.reference for line in table.lines} == {0.8, board["widedeep"].reference}
    assert table.unmeasured["the one"] == 0.9


def test_a_data_set_without_leaderboard_has_the_figures_of_its_settings_alone():
    (table,) = tables(read_results(finished() / "results"))
    assert {line.reference for line in table.lines} == {None} and table.unmeasured == {}
    assert "test-selected" in SOURCE and table.source != SOURCE


def test_apg_on_dcnv2_stands_beside_apg_and_gauc_beside_gauc(tmp_path):
    folder = copied(tmp_path)
    renamed(folder, "taobaoad_x1", {"FM": "apg", "LR": "DIN"})
    results = read_results(folder / "results")
    (table,) = tables(results)
    found = {line.standing.model: (line.reference, line.reference_gauc) for line in table.lines}
    assert found["apg"] == (0.649595, 0.575258) and found["DIN"][1] == published("taobaoad_x1")["din"].gauc
    assert "APG_DCNv2" not in table.unmeasured
    write_site(results, folder / "site", PAPERS)
    assert "<small>published 0.5753</small>" in (folder / "site" / "index.html").read_text()
