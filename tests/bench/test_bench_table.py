"""Tables and verification: only sound rows of one question are averaged, and a row comes out again."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from world import copied, finished

from clicksmith.bench.data import TEST_AS_VALID, named
from clicksmith.bench.figures import check_figures
from clicksmith.bench.results import read_results
from clicksmith.bench.row import Row, read_row, write_array, write_row
from clicksmith.bench.settings import read_settings
from clicksmith.bench.site import write_site
from clicksmith.bench.table import DatasetTable, tables
from clicksmith.cli.main import main
from clicksmith.datasets import DATASETS
from clicksmith.errors import ArtifactError
from clicksmith.evaluate.interval import Estimate
from clicksmith.evaluate.metrics import metric_named
from clicksmith.evaluate.scored import scored
from clicksmith.papers import PAPERS


def place(folder: Path, model: str, seed: int) -> Path:
    return folder / "results" / "shop" / model / f"{seed}.json"


def rewritten(path: Path, **changes) -> None:
    """Replace a row by a sound one with other content."""
    row = msgspec.structs.replace(read_row(path), **changes)
    path.unlink()
    write_row(path.parents[2], msgspec.structs.replace(row, name=row.configuration.name))


def test_a_table_is_derived_from_the_rows():
    results = read_results(finished() / "results")
    assert results.strange == [] and results.datasets == ("shop",)
    (table,) = tables(results, settings=read_settings(finished() / "settings.toml"), resamples=50)
    assert {line.standing.model for line in table.lines} == {"FM", "LR"}
    fm = next(line for line in table.lines if line.standing.model == "FM")
    values = [read_row(place(finished(), "FM", seed)).done.test.values["auc"].value for seed in (0, 1)]
    assert fm.metrics["auc"].mean == pytest.approx(np.mean(values))
    assert fm.metrics["auc"].sd == pytest.approx(np.std(values, ddof=1))
    assert fm.standing.auc == pytest.approx(fm.metrics["auc"].mean, abs=2e-4)  # of predictions kept as float16
    assert fm.reference == 0.7 and fm.standing.seeds == 2
    assert len(table.pairs) == 1 and table.pairs[0].bootstrap is not None
    assert table.failures == () and table.notes == ()


def test_a_data_sets_folder_and_a_models_are_read_like_the_results_they_lie_in(monkeypatch, capsys):
    whole = read_results(finished() / "results")
    for inner, models in (("shop", {"FM", "LR"}), ("shop/FM", {"FM"})):
        found = read_results(finished() / "results" / inner)
        assert found.strange == [] and set(found.models("shop")) == models
    (table,), (same,) = tables(whole), tables(read_results(finished() / "results" / "shop"))
    assert table == same
    monkeypatch.chdir(finished() / "results" / "shop")
    assert main(["bench", "verify", ".", "--check-only"]) == 0
    assert "4 rows are sound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_text("{"), "is not a row of a benchmark"),
        (lambda path: path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 3', 1)), "was changed after"),
        (lambda path: path.with_suffix(".npy").unlink(), "0.npy' is missing"),
        (lambda path: write_array(path.with_suffix(".npy"), np.zeros(400, np.float16)), "was altered"),
        (lambda path: path.rename(path.with_name("5.json")), "belongs elsewhere"),
    ],
)
def test_a_damaged_or_foreign_row_is_named_and_never_averaged_in(tmp_path, harm, said):
    folder = copied(tmp_path)
    other = read_row(place(folder, "FM", 1)).done.test.values["auc"].value
    harm(place(folder, "FM", 0))
    results = read_results(folder / "results")
    assert len(results.strange) == 1 and said in results.strange[0] and results.strange[0].endswith("It is left out.")
    (table,) = tables(results)
    fm = next(line for line in table.lines if line.standing.model == "FM")
    assert fm.metrics["auc"].mean == other and fm.standing.seeds == 1


def test_rows_of_other_settings_or_other_data_are_not_averaged_with_the_rest(tmp_path):
    folder = copied(tmp_path)
    path = place(folder, "FM", 1)
    asked = read_row(path).configuration
    rewritten(path, configuration=msgspec.structs.replace(asked, settings={**asked.settings, "learning_rate": 1.0}))
    found = read_results(folder / "results")
    assert len(found.rows) == 3
    assert (
        "FM/1.json' answers another question than the other rows of shop/FM: its model or settings" in found.strange[0]
    )
    rewritten(path, configuration=msgspec.structs.replace(asked, data={**asked.data, "train": "other"}))
    found = read_results(folder / "results")
    assert "answers another question than the other rows of shop: its data or split differ" in found.strange[0]


def test_what_unfinished_trials_leave_is_no_row(tmp_path):
    folder = copied(tmp_path) / "results"
    before = tables(read_results(folder))
    for left in ("FM-7/0a/spent.json", "FM-7/0a/checkpoint/state.json", "FM-7/9/state.json"):
        path = folder / "shop" / ".trials" / left
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    found = read_results(folder)
    assert found.strange == [] and tables(found) == before


def test_what_is_no_results_folder_says_so(tmp_path):
    with pytest.raises(ArtifactError, match="there is no results folder"):
        read_results(tmp_path / "none")
    with pytest.raises(ArtifactError, match="holds no rows; `clicksmith bench run` writes them"):
        read_results(tmp_path)


def test_every_title_leads_back_to_its_data_set():
    for name in DATASETS:
        assert named(name) == (name, None)
    assert named("avazu_x4_002") == ("avazu_x4", "avazu_x4_002")
    assert named("kuaivideo_x1_published") == ("kuaivideo_x1", "published")


def test_the_command_line_prints_tables_pairs_and_json(tmp_path, capsys):
    results = str(finished() / "results")
    assert main(["bench", "table", results, "--pairs", "--resamples", "20"]) == 0
    printed = capsys.readouterr().out
    assert "shop: 400 test rows; models of a rank are tied with one another" in printed
    assert "\nreference:" not in printed  # no model of it has one
    assert "b - a, AUC points" in printed and printed.rstrip().endswith(("a tie", "real"))
    assert main(["bench", "table", results, "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["dataset"] == "shop" and len(table["lines"]) == 2


def test_a_tiny_p_value_is_not_printed_as_zero(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("clicksmith.bench.ranks.holm", lambda values: [0.0 for _ in values])
    results = str(finished() / "results")
    assert main(["bench", "table", results, "--pairs"]) == 0
    assert capsys.readouterr().out.rstrip().splitlines()[-1].split()[-3:] == ["<", "0.0001", "real"]
    assert main(["bench", "page", results, "--out", str(tmp_path)]) == 0
    assert '<td class="n" data-order="0">&lt; 0.0001</td>' in (tmp_path / "shop" / "FM.html").read_text()


def test_the_command_line_verifies_and_names_what_is_wrong(tmp_path, capsys):
    folder = copied(tmp_path)
    assert main(["bench", "verify", str(folder / "results"), "--check-only"]) == 0
    assert capsys.readouterr().out == "4 rows are sound (0 of failed trials), 0 files are left out\n"
    place(folder, "LR", 0).write_text("[]")
    assert main(["bench", "verify", str(folder / "results"), "--check-only"]) == 1
    printed = capsys.readouterr().out
    assert "LR/0.json' is not a row of a benchmark" in printed
    assert "3 rows are sound (0 of failed trials), 1 files are left out" in printed


def with_figures(row: Row, values: dict[str, Estimate]) -> Row:
    """Return a row that says other test figures."""
    test = msgspec.structs.replace(row.done.test, values=row.done.test.values | values)
    return msgspec.structs.replace(row, outcome=msgspec.structs.replace(row.done, test=test))


def told(folder: Path, **changes) -> tuple[DatasetTable, str]:
    """Return the table and the site when FM's first row has other content."""
    rewritten(place(folder, "FM", 0), **changes)
    results = read_results(folder / "results")
    assert results.strange == []
    write_site(results, folder / "site", PAPERS)
    (table,) = tables(results)
    return table, (folder / "site" / "index.html").read_text()


def test_validation_rows_of_one_class_leave_their_auc_out(tmp_path):
    folder = copied(tmp_path)
    done = read_row(place(folder, "FM", 0)).done
    valid = {name: value for name, value in done.valid.items() if name != "auc"}
    table, _ = told(folder, outcome=msgspec.structs.replace(done, valid=valid))
    found = {line.standing.model: line.valid_auc for line in table.lines}
    assert found["FM"] is None and found["LR"] is not None


@pytest.mark.parametrize(
    ("change", "ways"), [({"kernels": "torch"}, "torch kernels, 1 thread"), ({"threads": 4}, "kernels, 4 threads")]
)
def test_times_of_other_kernels_or_threads_are_not_to_be_compared(tmp_path, change, ways):
    folder = copied(tmp_path)
    made_by = read_row(place(folder, "FM", 0)).made_by
    table, index = told(folder, made_by=msgspec.structs.replace(made_by, **change))
    (note,) = table.notes
    assert note.startswith("made in 2 ways (") and ways in note and note.endswith(": compare no times")
    assert "made in 2 ways (" in index


def test_rows_selected_on_test_rows_say_so(tmp_path):
    folder = copied(tmp_path)
    for path in (place(folder, model, seed) for model in ("FM", "LR") for seed in (0, 1)):
        rewritten(path, configuration=msgspec.structs.replace(read_row(path).configuration, split=TEST_AS_VALID))
    table, index = told(folder)
    (note,) = table.notes
    assert note.startswith("test rows are validation rows too, as published: ") and "higher than new rows" in note
    assert note in index


@pytest.mark.parametrize(("name", "by"), [("auc", 1e-3), ("auc", -1e-3), ("logloss", 5e-4), ("logloss", -5e-4)])
def test_figures_that_are_not_those_of_the_predictions_are_not_sound(tmp_path, capsys, name, by):
    folder = copied(tmp_path)
    path = place(folder, "FM", 0)
    row = read_row(path)
    said = row.done.test.values[name].value
    rewritten(path, outcome=with_figures(row, {name: Estimate(said + by)}).outcome)
    assert main(["bench", "verify", str(folder / "results"), "--check-only"]) == 1
    printed = capsys.readouterr().out
    assert f"FM/0.json' says {name} {said + by:.6f}, its stored predictions give 0." in printed
    assert "3 rows are sound (0 of failed trials), 1 files are left out" in printed


def test_a_figure_of_rows_of_one_class_is_only_what_is_defined_on_them():
    row = with_figures(read_row(place(finished(), "FM", 0)), {"logloss": Estimate(np.log(2)), "auc": Estimate(0.5)})
    with pytest.raises(ArtifactError, match=r"'x' says auc 0\.500000, its stored predictions give nan"):
        check_figures(row, np.ones(9, np.uint8), np.zeros(9, np.float16), "x")


def test_rounding_to_float16_is_never_taken_for_a_wrong_figure():
    row = read_row(place(finished(), "FM", 0))
    random = np.random.default_rng(0)
    for scale in (0.0, 1e-6, 1e-3, 1.0, 300.0, 1e5):  # alike when rounded; subnormal; of steps of 1/4; beyond float16
        labels = (random.random(3000) < 0.4).astype(np.uint8)
        logits = (0.02 * scale * labels + scale * random.standard_normal(3000) + 0.1).astype(np.float32)
        rows = scored(labels, logits=logits)
        values = {name: Estimate(metric_named(name).value(rows)) for name in ("auc", "logloss")}
        stored = np.clip(logits, -65504, 65504).astype(np.float16)
        check_figures(with_figures(row, values), labels, stored, "x")


def test_the_test_rows_of_a_group_count_together(tmp_path):
    folder = copied(tmp_path)
    (with_groups,) = tables(read_results(folder / "results"))
    (folder / "results" / "shop" / "test_groups.npy").unlink()
    (without,) = tables(read_results(folder / "results"))
    assert with_groups.pairs[0].effect == without.pairs[0].effect
    assert with_groups.pairs[0].rows_error != without.pairs[0].rows_error
