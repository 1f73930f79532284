"""`fit`: splits, identity, resuming, the cache; one question has one answer however often it is interrupted."""

import html
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import warm
from clicks import clicks, folder, tiny_run
from clicksmith.batch.split import Split
from clicksmith.cli.main import main
from clicksmith.datasets.dataset import SplitChoice, split_rows
from clicksmith.encode.chunk import FrameChunk
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.encode.targets import read_group
from clicksmith.encode.where import Where
from clicksmith.errors import ArtifactError, DataError, DivergedError, UsageError
from clicksmith.evaluate.auc import auc
from clicksmith.evaluate.predictions import Predictions
from clicksmith.fitting.chosen import Chosen
from clicksmith.fitting.job import fit
from clicksmith.fitting.page import write_page
from clicksmith.fitting.profile import profile_of_run
from clicksmith.fitting.split import parts_of
from clicksmith.models import model_spec
from clicksmith.report import PartRows
from clicksmith.run import Run
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Numeric, Schema, SideTable, Time
from clicksmith.serve.predictor import load

PLAIN = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
QUICK = {"epochs": 1, "model": "lr", "schema": PLAIN}


def test_a_run_folder_holds_all_that_was_asked_and_found():
    run = Run.open(tiny_run())
    assert run.record.done
    assert run.record.model == "deepfm"
    assert run.record.settings["learning_rate"] == 0.01
    assert set(run.record.data) == {"train", "valid", "test"}
    assert {"valid", "test"} <= set(run.metrics)
    assert run.folder.read_log()[0]["epoch"] == 1
    page = run.folder.report.read_text()
    assert "<html" in page and "rows of the data" in page and "unseen in valid" in page
    assert not run.folder.training.exists()
    assert not run.folder.encoded.exists()


def test_a_run_knows_its_data(tmp_path):
    """What every column holds, by counting in the frames: empty cells, values with an id, values that are new."""
    schema = Schema(
        fields=(
            Categorical("user", missing="unseen"), Categorical("ad", min_count=2), Categorical("code", buckets=9),
            Numeric("price", scale="log"), Bag("tags"), Categorical("next", share="user"),
        ),
        label=Label("click"), behaviours=(Behaviour("seen", of="ad"),), ignored=("text",),
    )  # fmt: skip
    train = pl.DataFrame({
        "user": ["u", "u", "", "v"], "ad": ["a", "a", "", ""], "code": ["1", "2", "", "4"],
        "price": [1.0, None, 100.0, 3.0], "tags": ["x|y", "", "x", ""], "next": ["u"] * 4,
        "seen": ["a", "", "", ""], "click": [1, 0, 0, 0],
    })  # fmt: skip
    valid = train.with_columns(ad=pl.Series(["a", "new", "b", ""]), click=1)
    encoder, store = Encoder.fit_encode(schema, train, tmp_path / "train")
    stores = {"train": store, "valid": encoder.encode_to(valid, tmp_path / "valid")}
    found = profile_of_run(schema, encoder, stores, {"text": "ignored: free text"})
    assert found.parts == (PartRows("train", 4, {"click": 1}), PartRows("valid", 4, {"click": 4}))
    columns = {c.name: c for c in found.columns}
    assert {name: c.missing for name, c in columns.items()} == {
        "user": None, "next": 0.0,  # they count in one vocabulary, which holds no empty cell of `next`
        "ad": None,  # its empty cells are a value, which histories could have too
        "code": None, "price": 0.25, "tags": 0.5, "seen": 0.75, "click": None, "text": None,
    }  # fmt: skip
    assert {name: c.unique for name, c in columns.items() if c.unique} == {
        "user": 2, "next": 2, "ad": 2, "code": 9, "tags": 2
    }  # fmt: skip
    assert columns["ad"].unseen == {"train": 0.0, "valid": 0.5} and columns["user"].unseen["train"] == 0.25
    assert (columns["ad"].example, columns["price"].example) == ("a, (empty)", "1 … 100")
    assert columns["text"].kind == "not used" and columns["text"].reason == "ignored: free text"
    plain = Schema(fields=(Categorical("user", missing="unseen"), Categorical("ad")), label=Label("click"))
    encoder, store = Encoder.fit_encode(plain, train, tmp_path / "plain")
    shares = {c.name: c.missing for c in profile_of_run(plain, encoder, {"train": store}, {}).columns}
    assert (shares["user"], shares["ad"]) == (0.25, 0.5)


def test_rows_are_split_off_by_chance_and_every_row_is_in_one_part(tmp_path):
    run = fit(clicks(400), out=tmp_path / "run", **QUICK)
    split = Split.load(run.folder.split)
    assert {name: len(rows) for name, rows in split.parts.items()} == {"train": 320, "valid": 40, "test": 40}
    assert sorted(np.concatenate(list(split.parts.values())).tolist()) == list(range(400))
    assert run.metrics["valid"]["rows"] == run.metrics["test"]["rows"] == 40


def test_the_latest_rows_are_split_off_where_there_is_a_time():
    frame = clicks(200).with_columns(at=pl.Series(np.random.default_rng(0).permutation(200)))
    schema = Schema(fields=PLAIN.fields, label=PLAIN.label, time=Time("at"))
    parts = parts_of(frame, None, None, schema=schema, how="auto", seed=0)
    latest = pl.concat(list(parts.test.batches(["at"])))["at"] if parts.test else pl.Series([])
    assert sorted(latest.to_list()) == list(range(180, 200))
    earlier = pl.concat(list(parts.train.batches(["at"])))["at"]
    assert earlier.max() == 159


def test_equal_times_fall_back_to_chance_unless_time_is_asked_for():
    frame = clicks(200).with_columns(at=pl.lit(1))
    schema = Schema(fields=PLAIN.fields, label=PLAIN.label, time=Time("at"))
    assert "by chance" in parts_of(frame, None, None, schema=schema, how="auto", seed=0).how
    with pytest.raises(DataError, match=r"too few different times in 'at' to split by; use --split random\.$"):
        parts_of(frame, None, None, schema=schema, how="time", seed=0)


def test_a_misspelt_calibration_or_split_is_refused_before_anything_is_written(tmp_path):
    for given, told in (
        ({"calibration": "plat"}, r"^calibration='plat': choose platt, isotonic or none\.$"),
        ({"split": "tme"}, r"^split='tme': choose auto, random, time or group\.$"),
    ):
        with pytest.raises(UsageError, match=told):
            fit(clicks(50), **QUICK, **given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_split_by_time_without_time_column_is_refused():
    with pytest.raises(UsageError, match=r"^a split by time needs a time column"):
        parts_of(clicks(200), None, None, schema=PLAIN, how="time", seed=0)


def test_with_valid_given_nothing_is_taken_off():
    parts = parts_of(clicks(100), clicks(30), None, schema=PLAIN, how="auto", seed=0)
    assert (parts.train.rows_hint, parts.valid.rows_hint, parts.test) == (100, 30, None)


def test_with_test_given_valid_alone_is_taken_off():
    parts = parts_of(clicks(100), None, clicks(30), schema=PLAIN, how="auto", seed=0)
    assert (parts.train.rows_hint, parts.valid.rows_hint) == (90, 10)
    assert parts.test is not None
    assert parts.test.rows_hint == 30


def test_chosen_rows_come_in_order_and_errors_name_the_sources_rows(tmp_path):
    frame = pl.DataFrame({"a": [str(i) for i in range(100)]})
    source = Chosen(open_source(frame), np.array([50, 3, 70]), "x")
    assert pl.concat(list(source.batches()))["a"].to_list() == ["3", "50", "70"]
    chunks = [chunk for group in source.chunks([], ["a"]) for chunk in group]
    assert [chunks[0].first + i for i in range(3)] == [3, 50, 70]


def test_vocabularies_are_of_the_training_rows_alone(tmp_path):
    frame = clicks(300).with_columns(user=pl.Series([f"only{i}" for i in range(300)]))
    run = fit(frame, out=tmp_path / "run", **QUICK)
    known = set(run.predictor().artifact.encoder.values("user"))
    held_out = Split.load(run.folder.split)["test"]
    assert len(known) == 240
    assert not known & set(frame["user"].gather(held_out).to_list())


def test_the_same_question_again_is_answered_at_once(tmp_path):
    run = fit(clicks(200), out=tmp_path / "run", **QUICK)
    before = (run.path / "model" / "manifest.json").stat().st_mtime_ns
    again = fit(clicks(200), out=tmp_path / "run", **QUICK)
    assert (again.path / "model" / "manifest.json").stat().st_mtime_ns == before


def test_another_question_in_the_same_folder_is_refused_unless_it_may_overwrite(tmp_path):
    fit(clicks(200), out=tmp_path / "run", **QUICK)
    with pytest.raises(
        UsageError, match=r"holds another run \(it differs in: settings \(seed is 0, asked 1\), seed, data, split\)"
    ):
        fit(clicks(200), out=tmp_path / "run", seed=1, **QUICK)
    assert fit(clicks(200), out=tmp_path / "run", seed=1, overwrite=True, **QUICK).record.seed == 1


def test_a_run_that_failed_before_it_trained_is_no_obstacle_and_half_a_training_is(tmp_path):
    """A label is mended, and the same command is given again. What a killed run has learned is not thrown away."""
    rows = clicks(200)
    bad = rows.with_columns(click=pl.when(pl.int_range(200) == 7).then(5).otherwise("click"))
    with pytest.raises(DataError, match="row 8: the label 'click' is '5'"):
        fit(bad, out=tmp_path / "run", **QUICK)
    with pytest.raises(DivergedError):
        fit(rows, out=tmp_path / "run", settings={"optimizer": "sgd", "learning_rate": 1e38}, **QUICK)
    assert fit(rows, out=tmp_path / "run", **QUICK).record.seed == 0
    argv = ["fit", f"{folder()}/train.csv", "--label", "click", "--model", "lr", "--out", str(tmp_path / "killed")]
    process, said = warm.begin("clicksmith", *argv, "--epochs", "50", "--train.patience", "none")
    assert any(line.startswith("epoch 2 ") for line in said)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(UsageError, match=r"holds another run \(it differs in: .*seed"):
        fit(rows, out=tmp_path / "killed", seed=1, **QUICK)


def test_without_out_the_folder_is_made_of_the_question(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = fit(clicks(200), **QUICK), fit(clicks(200), seed=1, **QUICK)
    assert first.path.parent == Path("runs")
    assert first.path.name.startswith("frame-lr-")
    assert first.path != second.path


def test_changed_content_is_encoded_again_whatever_its_name_and_date(tmp_path):
    path, cache = tmp_path / "rows.csv", tmp_path / "cache"
    clicks(200, seed=1).write_csv(path)
    fit(path, out=tmp_path / "one", cache=cache, **QUICK)
    fit(path, out=tmp_path / "two", cache=cache, seed=0, **{**QUICK, "model": "fm"})
    assert len(list(cache.iterdir())) == 3  # train, valid, test: the second run read the first one's
    stamp = path.stat()
    clicks(200, seed=2).write_csv(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    run = fit(path, out=tmp_path / "three", cache=cache, **QUICK)
    assert len(list(cache.iterdir())) == 6
    expected = fit(clicks(200, seed=2).cast(pl.String), out=tmp_path / "four", **QUICK)
    assert run.metrics["test"]["rows"] == expected.metrics["test"]["rows"]


def with_side(at: Path, segments: range) -> Schema:
    """Write users.csv below `at` and return a schema that reads it."""
    users = pl.DataFrame({"user": [f"u{i}" for i in range(40)], "segment": [segments[i % 4] for i in range(40)]})
    users.write_csv(at / "users.csv")
    fields = (*PLAIN.fields, Categorical("segment"))
    table = SideTable("users", str(at / "users.csv"), key="user")
    return Schema(fields=fields, label=PLAIN.label, tables=(table,))


def test_a_changed_side_table_is_noticed(tmp_path):
    schema, asked = with_side(tmp_path, range(4)), {**QUICK, "cache": tmp_path / "cache"}
    run = fit(clicks(200), out=tmp_path / "run", **{**asked, "schema": schema})
    assert sorted(run.predictor().artifact.encoder.values("segment")) == ["0", "1", "2", "3"]
    assert set(run.record.data) == {"train", "valid", "test", "table:users"}
    assert with_side(tmp_path, range(4, 8)) == schema
    with pytest.raises(UsageError, match=r"holds another run \(it differs in: data\)"):
        fit(clicks(200), out=tmp_path / "run", **{**asked, "schema": schema})
    other = fit(clicks(200), out=tmp_path / "other", **{**asked, "schema": schema})
    assert sorted(other.predictor().artifact.encoder.values("segment")) == ["4", "5", "6", "7"]


def test_a_damaged_cache_is_made_again(tmp_path):
    asked = {**QUICK, "cache": tmp_path / "cache"}
    first = fit(clicks(200), out=tmp_path / "one", **asked)
    for path in (tmp_path / "cache").rglob("rows/*.bin"):
        path.write_bytes(b"\0" * path.stat().st_size)
    again = fit(clicks(200), out=tmp_path / "two", **asked)
    np.testing.assert_array_equal(first.predictor().predict(clicks(50)), again.predictor().predict(clicks(50)))


@pytest.mark.parametrize("name", ["metrics.json", "log.jsonl", "run.json"])
def test_damaged_files_of_a_run_are_named(tmp_path, name):
    run = fit(clicks(200), out=tmp_path / "run", **QUICK)
    (run.path / name).write_text("{")
    with pytest.raises(ArtifactError, match=rf"{name}' is damaged \(.*\); remove the folder and fit again\.$"):
        write_page(Run.open(run.path).folder)


@pytest.mark.parametrize("setting", [{"negative_rate": 0.2}, {"pos_weight": 3.0}])
def test_class_weights_with_several_labels_are_refused(tmp_path, setting):
    schema = Schema(fields=PLAIN.fields, label=(Label("click"), Label("buy")))
    frame = clicks(100).with_columns(buy=pl.col("click"))
    with pytest.raises(UsageError) as found:
        fit(frame, out=tmp_path / "run", settings=setting, **{**QUICK, "schema": schema})
    assert str(found.value) == (
        "negative_rate and pos_weight are for one label; the schema has several. Leave them at 1."
    )


def test_one_seed_gives_equal_weights_and_another_does_not(tmp_path):
    rows = clicks(200)
    runs = [fit(rows, out=tmp_path / f"{i}", seed=seed, **QUICK) for i, seed in enumerate((3, 3, 4))]
    scores = [run.predictor().predict(rows) for run in runs]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_to_resume_there_must_be_something(tmp_path):
    with pytest.raises(UsageError, match=r"^there is no run to resume in '.*run'; leave out --resume\.$"):
        fit(clicks(200), out=tmp_path / "run", resume=True, **QUICK)
    assert not (tmp_path / "run").exists()


def test_another_run_is_not_resumed_even_if_it_has_learned_nothing_yet(tmp_path):
    with pytest.raises(DivergedError):
        fit(clicks(200), out=tmp_path / "run", settings={"optimizer": "sgd", "learning_rate": 1e38}, **QUICK)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(UsageError, match=r"holds another run \(it differs in: .*seed.*; choose another --out, or add"):
        fit(clicks(200), out=tmp_path / "run", seed=1, resume=True, **QUICK)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert fit(clicks(200), out=tmp_path / "run", seed=1, **QUICK).record.seed == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_and_given_again_ends_with_equal_scores(tmp_path, how):
    at = folder()
    argv = ["fit", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--schema", f"{at}/schema.toml", "--model", "fm"]
    argv += ["--epochs", "12", "--train.patience", "none", "--train.batch-size", "32", "--out"]
    process, said = warm.begin("clicksmith", *argv, str(tmp_path / "killed"))
    assert any(line.startswith("epoch 2 ") for line in said)
    process.send_signal(how)
    rest = said.read()
    assert process.wait() == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert "interrupted. resume with: clicksmith fit" in rest
    assert not (tmp_path / "killed" / "model").exists()
    again = warm.command("clicksmith", *argv, str(tmp_path / "killed"), "--resume")
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    assert "going on after step" in done.stderr
    assert main([*argv, str(tmp_path / "whole"), "--quiet"]) == 0
    rows = at / "test.csv"
    np.testing.assert_array_equal(load(tmp_path / "killed").predict(rows), load(tmp_path / "whole").predict(rows))


@pytest.mark.parametrize("setting", [{"negative_rate": 0.2}, {"pos_weight": 3.0}])
def test_dropped_negatives_and_class_weights_are_undone_in_predictions(tmp_path, setting):
    run = fit(
        clicks(3000),
        schema=PLAIN,
        model="lr",
        settings={**setting, "learning_rate": 0.05, "table_l2": 0.0, "patience": None},
        epochs=6,
        calibration="none",
        out=tmp_path / "run",
    )
    assert run.metrics["test"]["predicted_over_observed"] == pytest.approx(1.0, abs=0.15)


def test_metrics_are_plain_json(tmp_path):
    metrics = json.loads((tiny_run() / "metrics.json").read_text())
    assert isinstance(metrics["test"]["auc"], float)
    assert metrics["test"]["intervals"]["auc"][0] < metrics["test"]["auc"] < metrics["test"]["intervals"]["auc"][1]


def test_rows_with_one_class_in_valid_still_give_a_run(tmp_path):
    valid = clicks(100).filter(pl.col("click") == 1)
    run = fit(clicks(200), valid=valid, out=tmp_path / "run", settings={"monitor": "logloss"}, **QUICK)
    assert "auc" not in run.metrics["valid"]


def test_whole_groups_are_split_off_on_demand():
    schema = Schema(fields=PLAIN.fields, label=PLAIN.label, group="user")
    parts = parts_of(clicks(400), None, None, schema=schema, how="group", seed=0)
    assert parts.test is not None
    users = [set(pl.concat(list(p.batches(["user"])))["user"]) for p in (parts.train, parts.valid, parts.test)]
    assert all(users)
    assert len(set.union(*users)) == sum(len(part) for part in users)
    with pytest.raises(UsageError, match=r"^a split by group needs a group column, and the schema declares none"):
        parts_of(clicks(400), None, None, schema=PLAIN, how="group", seed=0)


def test_a_group_is_what_one_id_is_however_its_number_is_written():
    schema = Schema(fields=PLAIN.fields, label=PLAIN.label, group="user")
    texts = [f"{i % 40}{'.0' if i % 3 else ''}" for i in range(400)]
    parts = parts_of(clicks(400).with_columns(user=pl.Series(texts)), None, None, schema=schema, how="group", seed=0)
    assert parts.test is not None
    users = [
        set(pl.concat(list(p.batches(["user"])))["user"].str.replace(r"\.0$", "")) for p in (parts.train, parts.test)
    ]
    assert not users[0] & users[1]
    tables = split_rows(clicks(400).with_columns(user=pl.Series(texts)), schema, SplitChoice(how="group"), "here")
    users = [set(tables[name]["user"].str.replace(r"\.0$", "")) for name in ("train", "test")]
    assert not users[0] & users[1]
    read = read_group(FrameChunk(pl.DataFrame({"user": ["7", "7.0", "8"]}), Where("here")), "user")
    assert read[0] == read[1] != read[2]


def test_too_few_groups_to_split_and_groups_of_several_values_are_refused():
    schema = Schema(fields=PLAIN.fields, label=PLAIN.label, group="user")
    rows = clicks(60).with_columns(user=pl.Series([f"u{i // 30}" for i in range(60)]))
    with pytest.raises(DataError, match=r"^the frame: 'user' has 2 different groups, too few or too uneven to give"):
        parts_of(rows, None, None, schema=schema, how="group", seed=0)
    with pytest.raises(DataError, match=r"^the frame row 1: column 'user' holds \['u0'\], where one value is expected"):
        parts_of(rows.with_columns(user=pl.concat_list("user")), None, None, schema=schema, how="group", seed=0)


def test_a_model_that_is_wrong_on_valid_still_has_the_right_mean_and_says_so(tmp_path):
    """The validation rows' labels are turned round, so that what was learned is wrong there."""
    wrong = clicks(400, seed=5).with_columns(click=1 - pl.col("click"))
    run = fit(clicks(1500), valid=wrong, test=wrong, out=tmp_path / "run", **QUICK)
    assert run.metrics["valid"]["auc"] < 0.5
    assert run.metrics["valid"]["predicted_over_observed"] == pytest.approx(1, abs=0.01)
    (note,) = run.metrics["notes"]
    assert note.startswith("on the 400 validation rows predictions do not rise with clicks: ")
    assert run.predictor().predict(wrong).std() > 0


def test_isotonic_calibration_leaves_the_figures_before_it(tmp_path):
    run = fit(clicks(600), out=tmp_path / "run", calibration="isotonic", **QUICK)
    assert run.metrics["valid"]["logloss"] < run.metrics["valid_uncalibrated"]["logloss"]
    assert any("fitted on valid" in note for note in run.metrics["notes"])


def test_the_unseen_id_is_trained_unless_a_spec_is_given(tmp_path):
    named = fit(clicks(200), out=tmp_path / "named", **QUICK)
    given = fit(clicks(200), out=tmp_path / "given", **{**QUICK, "model": model_spec("lr")})
    assert (named.record.spec["embed"]["unseen_rate"], given.record.spec["embed"]["unseen_rate"]) == (0.02, 0.0)


def test_a_table_l2_of_0_is_kept(tmp_path):
    run = fit(clicks(200), out=tmp_path / "run", settings={"table_l2": 0.0}, **QUICK)
    assert run.record.settings["table_l2"] == 0.0


def test_a_model_of_several_outputs_says_that_it_is_not_calibrated(tmp_path):
    rows = clicks(400).with_columns(like=pl.Series([i % 3 == 0 for i in range(400)]).cast(pl.Int8))
    schema = Schema(fields=(Categorical("user"), Categorical("ad")), label=(Label("click"), Label("like")))
    found = fit(rows, schema=schema, model=model_spec("lr"), epochs=1, out=tmp_path / "run")
    assert "not calibrated: the model has 2 outputs, and the map is of one" in found.metrics["notes"]
    assert load(found.path).predict(rows.head(5)).shape == (5, 2)


def test_of_several_labels_each_has_its_figures_whatever_it_is_called_and_it_is_said_whose_are_shown(tmp_path, capsys):
    rows = clicks(400).rename({"click": "first"})
    third = pl.Series([i % 3 == 0 for i in range(400)]).cast(pl.Int8)
    rows = rows.with_columns(third.alias("clicks"), third.alias("auc"), third.alias("buy"))
    rows.write_parquet(tmp_path / "rows.parquet")
    names = ("first", "clicks", "auc", "buy")
    Schema(fields=(Categorical("user"), Categorical("ad")), label=tuple(map(Label, names))).save(tmp_path / "s.json")
    argv = ["fit", f"{tmp_path}/rows.parquet", "--schema", f"{tmp_path}/s.json", "--model", "lr", "--epochs", "1"]
    assert main([*argv, "--out", f"{tmp_path}/run", "--quiet"]) == 0
    said = "the figures are of the label 'first'; metrics.json also holds those of clicks, auc, buy"
    assert f"note: {said}" in capsys.readouterr().out
    run = Run.open(tmp_path / "run")
    assert html.escape(said) in run.folder.report.read_text()
    for split in ("valid", "test"):
        found = run.metrics[split]
        stored = Predictions.open(run.folder.predictions(split))
        assert found["auc"] == auc(stored.labels[:, 0], stored.logits[:, 0])
        assert found["clicks"] == stored.labels[:, 0].sum()
        wanted = auc(stored.labels[:, 1], stored.logits[:, 1])
        assert [found["outputs"][name]["auc"] for name in ("clicks", "auc")] == pytest.approx([wanted] * 2, abs=0.2)
        assert found["outputs"]["clicks"]["auc"] == wanted
        assert found["buy"]["clicks"] == found["outputs"]["auc"]["clicks"] == stored.labels[:, 1].sum()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"settings": 3}, r"^settings is 3; give a dict, as in \{'epochs': 3\}, or TrainSettings\.$"),
        ({"options": 3}, r"^options is 3; give a dict, as in \{'dim': 8\}\.$"),
        ({"settings": {"seed": "x"}}, r"^seed is 'x'; it must be a whole number\.$"),
    ],
)
def test_settings_and_options_that_are_none_are_refused_in_a_sentence(given, said):
    with pytest.raises(UsageError, match=said):
        fit(clicks(50), label="click", **given)


def test_a_behaviour_counts_by_itself_and_not_as_the_candidate_does(tmp_path):
    random, rows = np.random.default_rng(0), 8_000
    weights, ad, seen = random.normal(0, 1.2, 30), random.integers(0, 30, rows), random.integers(0, 30, (rows, 3))
    logit = weights[ad] - 1.5 * weights[seen].mean(1)  # clicked ads are those that one who clicks much leaves alone
    click = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    past = ["|".join(f"a{x}" for x in row) for row in seen]
    frame = pl.DataFrame({"ad": [f"a{x}" for x in ad], "seen": past, "click": click})
    run = fit(
        frame[:5_000],
        valid=frame[5_000:6_000],
        test=frame[6_000:],
        schema=Schema(
            fields=(Categorical("ad", role="item"),), behaviours=(Behaviour("seen", of="ad"),), label=Label("click")
        ),
        model="lr",
        settings={"learning_rate": 0.02, "epochs": 20},
        out=tmp_path / "run",
    )
    assert run.metrics["test"]["auc"] > auc(click[6_000:], logit[6_000:]) - 0.01  # with shared weights .2 less
