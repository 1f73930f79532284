"""Every kind of bad input gives one line that says what, where and what to do, and exit status 2. No traceback."""

import fcntl
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from clicks import SCHEMA, clicks, folder, tiny_run
from clicksmith.cli.main import main
from clicksmith.cli.rows import opened
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.errors import DataError
from clicksmith.fitting.job import fit
from clicksmith.schema import Categorical, Label, Schema, Time
from clicksmith.schema.columns import Behaviour, Side
from clicksmith.serve.predictor import load

HEAD = "user,ad,device,price,seen_ads,click"
GOOD = "u1,a1,phone,3.5,a2|a3,1"
BAD = "u2,a2,tablet,1.5,,0"


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """Return a function that fits the given text of train.csv and checks the one line on stderr."""
    monkeypatch.chdir(tmp_path)
    Path("schema.toml").write_text(SCHEMA)

    def check(text: str | bytes | None, message: str, *more: str, name: str = "train.csv") -> None:
        if text is not None:
            Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        valid = ["--valid", str(folder() / "valid.csv")] if "--valid" not in more else []
        status = main(["fit", name, "--schema", "schema.toml", "--quiet", "--out", "run", *valid, *more])
        captured = capsys.readouterr()
        assert captured.err == f"error: {message}\n"
        assert status == 2
        assert not Path("run/model").exists()

    return check


def rows(*lines: str) -> str:
    return "\n".join([HEAD, *lines, GOOD, BAD]) + "\n"


def test_no_such_file(fails, tmp_path):
    fails(None, f"there is no file 'train.csv'. Check the path; relative paths start at '{tmp_path}'.")


def test_an_empty_file(fails):
    fails("", "'train.csv' is empty: it has neither header nor rows.")


def test_a_header_without_rows(fails):
    fails(HEAD + "\n", "'train.csv' has a header but no rows.")


def test_the_wrong_delimiter(fails):
    fails(
        rows().replace(",", "~"),
        "train.csv: 6 columns are missing: user, ad, device, price, seen_ads, click. The columns there are: "
        "user~ad~device~price~seen_ads~click. The schema declares the missing ones: rename the columns, add them (with "
        "empty cells where they are not known, but for 'click'), or change the schema. A single column was found: if "
        "cells are separated by something else than a tab , ; or |, name it, on the command line with --delimiter.",
    )


@pytest.mark.parametrize("delimiter", ["~", " "])
def test_the_wrong_delimiter_where_no_schema_is_given_and_the_advice_helps(delimiter, tmp_path, capsys):
    text = clicks(60).drop("seen_ads").write_csv().replace(",", delimiter)
    (tmp_path / "log.csv").write_text(text)
    head = text.split("\n")[0]
    cure = (
        " A single column was found: if cells are separated by something else than a tab , ; or |, name it, on the "
        "command line with --delimiter.\n"
    )
    for verb, label, told in (
        ("describe", ["--label", "click"], f"the label is to be 'click': no column named 'click'. Known: {head}."),
        ("fit", [], "no column is named like a label (click, label, target, ...); no column has two values. Name it "
         "with label=... or --label."),
    ):  # fmt: skip
        command = [verb, str(tmp_path / "log.csv"), *label]
        assert main(command) == 2
        assert capsys.readouterr().err == f"error: log.csv: {told}{cure}"
    assert main(["describe", str(tmp_path / "log.csv"), "--label", "click", "--delimiter", delimiter]) == 0


def test_a_ragged_row(fails):
    fails(
        rows("u3,a3,phone"),
        "train.csv row 1 (line 2) has 3 cells where 6 are expected (delimiter ','). Mend the row, quote cells that "
        "hold the delimiter, or name the right one.",
    )


def test_bytes_that_are_not_utf8(fails):
    fails(
        rows().encode() + b"u\xe9,a1,phone,1,,0\n",
        "train.csv line 4: byte 0xe9 is not UTF-8 text. Convert the file, for example with 'iconv -f latin1 -t utf8 "
        "train.csv'.",
    )


def test_an_empty_label(fails):
    fails(
        rows("u3,a3,phone,1,,"),
        "train.csv row 1 (line 2): the label 'click' is empty. Rows to learn from or to measure need a label: drop "
        "those without, or score them by `predict`.",
    )


@pytest.mark.parametrize("label", ["nan", "inf", "2", "-1", "0.5", "yes"])
def test_a_label_that_is_not_0_or_1(fails, label):
    fails(
        rows(f"u3,a3,phone,1,,{label}"),
        f"train.csv row 1 (line 2): the label 'click' is '{label}'; a label is 0 or 1. Correct it, or name the word "
        'that means 1: Label("click", positive="...").',
    )


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class(fails, label):
    fails(
        f"{HEAD}\n" + f"u1,a1,phone,1,,{label}\n" * 5,
        f"train.csv: the label 'click' is {label} in every row; a model needs both 0 and 1 to learn from. Check the "
        "label column and how the rows were chosen.",
    )


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_column_missing_from_valid_or_test(fails, tmp_path, part):
    clicks(50).drop("device").write_csv(tmp_path / f"{part}.csv")
    fails(
        clicks(50).write_csv(),
        f"{part}.csv: no column named 'device'. The columns there are: user, ad, price, seen_ads, click. The schema "
        "declares it: rename the column, add it (with empty cells where it is not known), or change the schema.",
        f"--{part}",
        f"{part}.csv",
    )


def test_a_column_missing_from_rows_to_score(tmp_path, capsys):
    clicks(5).drop("user").write_csv(tmp_path / "new.csv")
    assert main(["predict", str(tiny_run()), str(tmp_path / "new.csv")]) == 2
    assert capsys.readouterr().err == (
        "error: new.csv: no column named 'user'. The columns there are: ad, device, price, seen_ads, click. The schema "
        "declares it: rename the column, add it (with empty cells where it is not known), or change the schema.\n"
    )


def test_rows_without_label_cannot_be_measured_and_the_advice_helps(tmp_path, capsys):
    """Each advice is followed: the renamed column is measured, and what lacks a label is scored."""
    new, command = str(tmp_path / "new.csv"), [str(tiny_run()), str(tmp_path / "new.csv")]
    told = (
        "error: new.csv: no column named 'click'. The columns there are: user, ad, device, price, seen_ads{}. Rows to "
        "learn from or to measure need 'click': rename the column, or add it and fill every cell. Rows without can be "
        "scored by `predict`.\n"
    )
    empty = (
        "error: new.csv row 1 (line 2): the label 'click' is empty. Rows to learn from or to measure need a label: "
        "drop those without, or score them by `predict`.\n"
    )
    rows = clicks(50)
    blank = rows.with_columns(click=pl.lit(None))
    for frame, text in (
        (rows.drop("click"), told.format("")),
        (rows.rename({"click": "y"}), told.format(", y")),
        (blank, empty),
    ):
        frame.write_csv(new)
        assert main(["evaluate", *command]) == 2
        assert capsys.readouterr().err == text
        assert main(["predict", *command]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 51
    clicks(50).write_csv(new)
    assert main(["evaluate", *command]) == 0


def test_a_missing_weight_is_not_to_be_left_empty(tmp_path):
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"), weight="worth")
    with pytest.raises(
        DataError, match=r"Rows to learn from or to measure need 'worth': rename the column, or add it and"
    ):
        fit(clicks(50), schema=schema, out=tmp_path / "run")
    with pytest.raises(
        DataError, match=r"missing: ad, worth\..*\(with empty cells where they are not known, but for 'worth'\)"
    ):
        fit(clicks(50).drop("ad"), schema=schema, out=tmp_path / "run2")


@pytest.mark.parametrize(("held", "told"), [(1e39, r"1e\+39"), (-1.0, "-1")])
def test_a_weight_that_is_none_is_refused_with_its_row(tmp_path, held, told):
    rows = clicks(50).with_columns(worth=pl.Series([1.0] * 49 + [held]))
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"), weight="worth")
    with pytest.raises(DataError, match=rf"row 50: the weight 'worth' holds {told}; a weight is a finite number of 0 "):
        fit(rows, valid=rows, schema=schema, out=tmp_path / "run")


def test_a_file_without_header(tmp_path, capsys):
    (tmp_path / "bare.csv").write_text("1,2.5,a\n0,1.5,b\n")
    assert main(["describe", str(tmp_path / "bare.csv")]) == 2
    assert capsys.readouterr().err == (
        "error: bare.csv: the first line holds '1', a number, where a column name is expected. If the file has no "
        "header, give the names of its columns. On the command line: --columns label,I1..I13,C1..C26\n"
    )
    assert main(["describe", str(tmp_path / "bare.csv"), "--columns", "label,I1,C1"]) == 0


def test_columns_to_name_are_all_that_a_model_reads(tmp_path):
    """Also the sides of its histories, and the domain."""
    behaviour = Behaviour("seen", of="ad", sides=(Side("kinds"),))
    schema = Schema(fields=(Categorical("ad"),), behaviours=(behaviour,), label=Label("click"), domain="shop")
    columns = {"ad": ["a", "b"], "seen": ["a|a", ""], "kinds": ["x|y", ""], "shop": ["s", "t"], "click": [0, 1]}
    encoder = Encoder.fit(schema, pl.DataFrame(columns))
    predictor = SimpleNamespace(open=open_source, schema=schema, artifact=SimpleNamespace(encoder=encoder))
    (tmp_path / "bare.csv").write_text("1,2,3,4\n1,2,3,4\n")
    with pytest.raises(DataError, match="On the command line: --columns ad,seen,kinds,shop, in the file's order"):
        opened([str(tmp_path / "bare.csv")], predictor=predictor)


@pytest.mark.parametrize("verb", ["fit", "rank", "search random --backbone lr", "tune --model lr"])
def test_a_file_without_header_beside_one_with_it_is_told_the_names(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clicks(60).write_csv("train.csv")
    clicks(60).write_csv("bare.csv", include_header=False)
    name, *more = verb.split()
    argv = [name, *more[:1], "train.csv", *more[1:]] if name == "search" else [name, "train.csv", *more]
    argv += ["--label", "click", "--valid", "bare.csv", "--out", "out"]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"On the command line: --columns {HEAD}, if they are those of train.csv\n")
    if name == "fit":
        assert main([*argv, "--columns", HEAD, "--model", "lr", "--epochs", "1", "--quiet"]) == 0


def test_names_for_columns_that_are_given_twice(capsys):
    assert main(["describe", "x.csv", "--columns", "a,b,a"]) == 2
    assert capsys.readouterr().err == "error: --columns: the name 'a' is given twice; name every column once.\n"


def test_a_delimiter_of_several_characters(capsys):
    assert main(["describe", "x.csv", "--delimiter", "||"]) == 2
    assert capsys.readouterr().err == (
        "error: --delimiter got '||'; give one character, or tab. Where several characters separate cells, make them "
        "one first, for example with 'sed \"s/||/\\t/g\" FILE > FILE.tsv'.\n"
    )


def test_columns_of_one_name(fails):
    fails(
        "user,ad,ad,click\nu,a,a,1\nu,a,a,0\n",
        "train.csv: column 'ad' appears 2 times in the header (delimiter ','). Give each column its own name.",
    )


def test_a_schema_that_names_a_column_twice(fails, tmp_path):
    (tmp_path / "twice.toml").write_text(SCHEMA.replace('name = "ad"', 'name = "user"'))
    fails(rows(), "'twice.toml': column 'user' is declared 2 times; declare it once.", "--schema", "twice.toml")


def test_text_in_a_numeric_column(fails):
    fails(
        rows("u3,a3,phone,cheap,,1"),
        "train.csv row 1 (line 2): column 'price' holds 'cheap', which is not a finite number. Clean the file, leave "
        'the cell empty if the number is missing, or declare Categorical("price").',
    )


def test_dates_where_a_time_in_numbers_is_declared_and_the_advice_helps(tmp_path, capsys):
    rows = clicks(200).with_columns(when=pl.lit("2024-01-02 10:00:00"))
    rows.write_csv(tmp_path / "log.csv")
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"), time=Time("when"))
    command = ["fit", str(tmp_path / "log.csv"), "--schema", str(tmp_path / "s.toml"), "--model", "lr", "--epochs", "1"]
    command += ["--out", str(tmp_path / "run"), "--quiet"]
    schema.save(tmp_path / "s.toml")
    assert main(command) == 2
    assert capsys.readouterr().err == (
        "error: log.csv row 1 (line 2): column 'when' holds '2024-01-02 10:00:00', which is not a finite number. It is "
        'a date: declare Time("when", unit="text"), or leave the column out.\n'
    )
    text = (tmp_path / "s.toml").read_text()
    (tmp_path / "s.toml").write_text(text.replace('unit = "s"', 'unit = "text"'))
    assert main(command) == 0


def test_a_folder_where_a_file_is_expected(fails, tmp_path):
    (tmp_path / "train.csv").mkdir()
    fails(None, "'train.csv' is a folder, not a file. Name the file in it, or several as 'train.csv/*.csv'.")


def test_a_folder_where_predictions_are_to_be_written(tmp_path, capsys):
    (tmp_path / "scores.csv").mkdir()
    argv = ["predict", str(tiny_run()), str(folder() / "test.csv"), "--out", str(tmp_path / "scores.csv")]
    assert main(argv) == 2
    assert (
        capsys.readouterr().err == f"error: --out got '{tmp_path}/scores.csv', which is a folder; give a file name.\n"
    )


def test_a_format_that_is_not_known(tmp_path, capsys):
    assert main(["predict", str(tiny_run()), str(folder() / "test.csv"), "--out", "scores.xls"]) == 2
    assert capsys.readouterr().err == (
        "error: --out got 'scores.xls', whose ending says no format; use one of .csv, .tsv, .parquet, .jsonl.\n"
    )


def test_an_output_folder_that_holds_something_else(fails, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    for more in ((), ("--overwrite",)):  # what is replaced is a run
        told = "'run' is not empty and holds no run (for example 'thesis.tex'); choose another --out."
        fails(rows(), told, *more)
        assert (tmp_path / "run" / "thesis.tex").exists()


def test_an_output_folder_that_holds_another_run(tmp_path, capsys):
    at = folder()
    argv = ["fit", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--schema", f"{at}/schema.toml", "--model", "lr"]
    assert main([*argv, "--out", str(tiny_run())]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: '{tiny_run()}' holds another run (it differs in: model, spec, ")
    assert message.endswith("); choose another --out, or add --overwrite.\n")


def test_two_runs_writing_one_folder(fails, tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fails(
            clicks(50).write_csv(),
            "'run' is being written by another run; wait for it to end or choose another output folder.",
        )


def test_a_full_disk(fails, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clicksmith.serve.artifact.save_tensors", full)
    fails(
        clicks(60).write_csv(),
        "no space left on the disk while writing 'run/model'; nothing was changed. Free some space and run again.",
        "--epochs",
        "1",
    )


def test_a_disk_that_is_full_of_predictions(tmp_path, monkeypatch, capsys):
    """Polars tells the number of the error in words."""

    def full(*args, **options):
        raise OSError("No space left on device (os error 28)")

    target = tmp_path / "scores.csv"
    argv = ["predict", str(tiny_run()), str(folder() / "test.csv"), "--out", str(target)]
    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    assert main(argv) == 2
    assert capsys.readouterr().err == (
        f"error: no space left on the disk while writing '{target}'; nothing was changed. Free some space and run "
        "again.\n"
    )
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_predictions(tmp_path, monkeypatch):
    target = tmp_path / "scores.csv"
    argv = ["predict", str(tiny_run()), str(folder() / "test.csv"), "--out", str(target)]
    assert main(argv) == 0
    before = target.read_bytes()

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_csv", interrupt)
    assert main(argv) == 130
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scores.csv"]


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path), str(folder() / "test.csv")]) == 2
    assert capsys.readouterr().err == (
        f"error: '{tmp_path}' is not an artefact: it has no readable manifest.json; give the folder that "
        "`clicksmith fit` wrote.\n"
    )


def test_a_label_that_does_not_exist(fails):
    fails(
        rows(), "--label clicked: no label in the schema named 'clicked'. Did you mean 'click'?", "--label", "clicked"
    )


def test_a_model_that_does_not_exist(fails):
    fails(rows(), "no model named 'deepfmm'. Did you mean 'deepfm'?", "--model", "deepfmm")


def test_an_option_the_model_does_not_have(fails):
    fails(
        rows(), "no option named '--model.dimm'. Did you mean '--model.dim'?", "--model", "deepfm", "--model.dimm", "3"
    )


def test_too_few_rows_to_split(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text(rows())
    (tmp_path / "schema.toml").write_text(SCHEMA)
    assert main(["fit", "train.csv", "--schema", "schema.toml"]) == 2
    assert capsys.readouterr().err == (
        "error: train.csv has 2 rows, too few to take validation and test rows off; give at least 20, "
        "or a file with --valid.\n"
    )


def test_a_vocabulary_of_one_value_trains(tmp_path):
    clicks(80).with_columns(device=pl.lit("phone")).write_csv(tmp_path / "train.csv")
    argv = ["fit", str(tmp_path / "train.csv"), "--schema", str(folder() / "schema.toml"), "--model", "lr", "--quiet"]
    assert main([*argv, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0


def test_ids_beyond_2_to_the_31_keep_their_own_rows(tmp_path):
    big = [(1 << 62) + i for i in range(30)]
    frame = clicks(600).with_columns(user=pl.Series(np.random.default_rng(0).choice(big, 600)))
    frame.write_csv(tmp_path / "train.csv")
    argv = ["fit", str(tmp_path / "train.csv"), "--schema", str(folder() / "schema.toml"), "--model", "lr", "--quiet"]
    assert main([*argv, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    encoder = load(tmp_path / "run").artifact.encoder
    ids = encoder.encode([{**frame.to_dicts()[0], "user": value} for value in big]).ids[:, 0]
    assert len(set(ids.tolist())) == len(big)
    assert ids.min() > 1


def test_a_history_longer_than_its_limit_keeps_the_newest():
    encoder = load(tiny_run()).artifact.encoder
    row = clicks(1).to_dicts()[0]
    long = encoder.encode({**row, "seen_ads": "a9|a8|a1|a2|a3|a4|a5"})
    newest = encoder.encode({**row, "seen_ads": "a1|a2|a3|a4|a5"})
    np.testing.assert_array_equal(long.histories["seen_ads"], newest.histories["seen_ads"])


@pytest.mark.parametrize("kept", [100, None])
def test_a_report_of_damaged_or_absent_weights_is_refused(kept, tmp_path, capsys):
    copy = Path(shutil.copytree(tiny_run(), tmp_path / "run"))
    file = copy / "model" / "weights.safetensors"
    content = file.read_bytes()
    file.unlink()
    if kept is not None:
        file.write_bytes(content[:kept])
    assert main(["report", str(copy), "--out", str(tmp_path / "page.html")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: '{file}' cannot be read (")
    assert message.endswith("); copy the whole folder again.\n")
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_encoder_is_an_error_and_not_a_crash(tmp_path, capsys):
    copy = Path(shutil.copytree(tiny_run(), tmp_path / "run"))
    file = copy / "model" / "encoder" / "000.bin"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["predict", str(copy), str(folder() / "test.csv")]) == 2
    assert "is truncated" in capsys.readouterr().err
