"""Every verb on the tiny run: what it prints, what it writes, what it says next."""

import datetime as dt
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import warm
from clicks import clicks, folder, tiny_run
from clicksmith.cli.main import main
from clicksmith.cli.quickstart import learnable
from clicksmith.datasets import DATASETS, ad_world
from clicksmith.datasets.spec import DataFile, DatasetSpec
from clicksmith.encode.encoder import Encoder
from clicksmith.evaluate import auc as exact_auc
from clicksmith.fitting.job import fit
from clicksmith.schema import Categorical, Label, Schema, Time
from clicksmith.schema.schema import SideTable


def words(page: Path) -> str:
    return " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())


def test_evaluate_prints_json_with_the_figures_of_the_run(capsys):
    assert main(["evaluate", str(tiny_run()), str(folder() / "test.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((tiny_run() / "metrics.json").read_text())["test"]
    assert found["auc"] == written["auc"]
    assert found["logloss"] == written["logloss"]


def test_evaluate_by_column_has_a_line_per_value(capsys):
    assert main(["evaluate", str(tiny_run()), str(folder() / "test.csv"), "--by", "device", "--json"]) == 0
    slices = json.loads(capsys.readouterr().out)["slices"]
    assert {s["value"] for s in slices} == {"phone", "tablet", "desktop"}
    assert sum(s["rows"] for s in slices) == 300


def test_rows_to_measure_need_no_time_and_say_which_groups_are_missing(tmp_path, capsys):
    rows = clicks(200).with_columns(when=pl.int_range(200))
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"), time=Time("when"), group="user")
    fit(rows, schema=schema, model="lr", epochs=1, out=tmp_path / "run")
    for drop, status in (("when", 0), ("user", 2)):
        rows.drop(drop).write_csv(tmp_path / "new.csv")
        for verb in ("evaluate", "explain"):
            assert main([verb, str(tmp_path / "run"), str(tmp_path / "new.csv")]) == status
    assert "new.csv: no column named 'user'" in capsys.readouterr().err


def test_evaluate_by_an_unknown_column_names_the_nearest(capsys):
    assert main(["evaluate", str(tiny_run()), str(folder() / "test.csv"), "--by", "devise"]) == 2
    assert "no column named 'devise'. Did you mean 'device'?" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_predict_writes_every_format(tmp_path, ending):
    out = tmp_path / f"scores.{ending}"
    assert main(["predict", str(tiny_run()), str(folder() / "test.csv"), "--out", str(out), "--keep", "all"]) == 0
    read = {
        "csv": pl.read_csv,
        "tsv": lambda path: pl.read_csv(path, separator="\t"),
        "parquet": pl.read_parquet,
        "jsonl": pl.read_ndjson,
    }[ending]
    frame = read(out)
    assert frame.columns == [*pl.read_csv(folder() / "test.csv").columns, "probability"]
    assert frame.height == 300


def test_predict_without_out_prints_csv(capsys):
    assert main(["predict", str(tiny_run()), str(folder() / "test.csv"), "--keep", "none"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "probability"
    assert len(lines) == 301


def test_predict_into_a_closed_pipe_is_quiet():
    words = warm.command("clicksmith", "predict", str(tiny_run()), f"{folder()}/train.csv", "--keep", "all")
    command = f"{shlex.join(words)} | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("user,ad,")


def test_explain_ranks_the_planted_field_first_and_a_noise_field_last(capsys):
    assert main(["explain", str(tiny_run()), str(folder() / "train.csv"), "--json"]) == 0
    ranked = [line["field"] for line in json.loads(capsys.readouterr().out)]
    assert ranked[0] == "ad"
    assert set(ranked) == {"user", "ad", "device", "price", "seen_ads"}


def test_explain_names_what_its_numbers_are(capsys):
    words = ["--metric", "logloss", "--rows", "200", "--repeats", "1"]
    assert main(["explain", str(tiny_run()), str(folder() / "train.csv"), *words]) == 0
    told = capsys.readouterr()
    assert "how much worse it gets when a field's values are shuffled, with 95% intervals:" in told.err
    head, *lines = told.out.splitlines()
    assert head.split("  ")[0] == "field" and "logloss worse by" in head
    assert {len(line) for line in lines} == {len(head)}  # numbers end where their head does


def test_explain_says_what_else_works_where_a_model_has_no_attention(capsys):
    assert main(["explain", str(tiny_run()), str(folder() / "test.csv"), "--how", "attention"]) == 2
    assert capsys.readouterr().err.startswith("error: the model has no attention over fields to show; use autoint")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["explain", "--rows", "1"], "--rows got 1; give at least 2."),
        (["explain", "--how", "attention", "--rows", "0"], "--rows got 0; give at least 2."),
        (["explain", "--repeats", "0"], "--repeats got 0; give at least 1."),
        (["evaluate", "--level", "95"], "--level got 95; give a share between 0 and 1, such as 0.95."),
    ],
)
def test_numbers_out_of_range_are_told_with_their_flag(argv, told, capsys):
    assert main([argv[0], str(tiny_run()), str(folder() / "test.csv"), *argv[1:]]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--row", "5"], "--row is of --how attention or gates; permutation shuffles many rows. Leave it out."),
        (
            ["--how", "attention", "--metric", "auc"],
            "--metric is of --how permutation; --how attention shuffles nothing. Leave it out.",
        ),
        (
            ["--how", "gates", "--repeats", "3"],
            "--repeats is of --how permutation; --how gates shuffles nothing. Leave it out.",
        ),
        (
            ["--how", "gates", "--rows", "20000", "--row", "0"],
            "--rows 20000 and --row 0 exclude each other; give one of them.",
        ),
    ],
)
def test_explain_refuses_what_would_change_nothing(argv, told, capsys):
    assert main(["explain", str(tiny_run()), str(folder() / "test.csv"), *argv]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_describe_writes_a_schema_that_fit_reads_and_needs_no_torch(tmp_path):
    code = (
        "import sys\nfrom clicksmith.cli.main import main\n"
        f"argv = ['describe', '{folder()}/train.csv', '--out', '{tmp_path}/s.json', '--html', '{tmp_path}/p.html']\n"
        "status = main(argv)\nprint(status, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 False"
    assert "numbers between" in done.stdout
    assert Schema.load(tmp_path / "s.json").labels[0].name == "click"
    assert "column kind values missing" in words(tmp_path / "p.html")


def test_report_is_written_again(tmp_path):
    assert main(["report", str(tiny_run()), "--out", str(tmp_path / "page.html")]) == 0
    assert "deepfm" in words(tmp_path / "page.html")
    told = words(tmp_path / "page.html")
    assert "column kind ids missing unseen in train unseen in valid unseen in test example why user categ" in told
    assert "ad categorical 25 0% 0% 0% 0% a23, a16, a19" in told


def test_the_report_of_the_folder_one_is_in_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_run())
    assert main(["report", ".", "--out", str(tmp_path / "page.html")]) == 0
    assert f"<title>deepfm on {tiny_run().name}</title>" in (tmp_path / "page.html").read_text()


def test_doctor_prints_versions_and_json(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["polars"] == pl.__version__
    assert facts["native kernels"].startswith(("yes", "no"))


def test_a_name_that_would_not_be_read_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "synthetic", "my world"]) == 2
    assert "'my world': synthetic takes no name. To write there: clicksmith datasets synthetic --out 'my world'" in (
        capsys.readouterr().err
    )
    assert main(["datasets", "list", "frappe_x1"]) == 2
    assert not list(tmp_path.iterdir())


def test_datasets_lists_and_simulates(tmp_path, capsys):
    assert main(["datasets"]) == 0
    assert "movielens_1m" in capsys.readouterr().out
    assert main(["datasets", "synthetic", "--rows", "2000", "--out", str(tmp_path / "world")]) == 0
    assert pl.read_csv(tmp_path / "world" / "train.csv").height == 1600
    assert "best possible test AUC" in capsys.readouterr().err


def test_datasets_are_looked_for_in_the_folder_and_what_was_compared_is_said(tmp_path, capsys, monkeypatch):
    rows = "user,ad,click\n" + "u1,a1,0\nu2,a1,1\n" * 5
    files = (DataFile("train", "a.csv", (hashlib.md5(rows.encode()).hexdigest(),)), DataFile("test", "b.csv", (), 10))
    schema = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))
    spec = DatasetSpec("tiny", "Tiny", (*files, DataFile("x", "x.txt")), {"tiny": schema}, "A tiny one.")
    monkeypatch.setitem(DATASETS, "tiny", spec)
    for name in ("a.csv", "b.csv", "x.txt"):
        (tmp_path / name).write_text(rows)
    assert main(["datasets", "--folder", str(tmp_path)]) == 0
    assert re.search(r"tiny +yes", capsys.readouterr().out)
    assert main(["datasets", "verify", "tiny", "--folder", str(tmp_path)]) == 0
    told = "tiny: 3 files, 1 with the published checksum, 1 with the published number of rows, 1 of which nothing is"
    assert told in capsys.readouterr().out
    (tmp_path / "b.csv").write_text(rows[:40])
    assert main(["datasets", "verify", "tiny", "--folder", str(tmp_path)]) == 2
    assert "b.csv' has 5 lines for 10 rows. The file is damaged" in capsys.readouterr().err


def test_a_fetched_data_set_has_its_side_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    users = pl.DataFrame({"user": ["u0", "u1", "u2"], "ad": ["a0", "a1", "a0"], "click": [0, 1, 1]})
    users.write_parquet("here/train.parquet")
    pl.DataFrame({"ad": ["a0", "a1"], "brand": ["x", "y"]}).write_parquet("here/ads.parquet")
    fields = (Categorical("user"), Categorical("ad"), Categorical("brand"))
    table = SideTable("ads", "ads.parquet", key="ad")
    schema = Schema(fields=fields, label=Label("click"), tables=(table,))
    files = (DataFile("train", "train.parquet"), DataFile("ads", "ads.parquet"))
    monkeypatch.setitem(DATASETS, "tiny", DatasetSpec("tiny", "Tiny", files, {"tiny": schema}, "A tiny one."))
    assert main(["datasets", "fetch", "tiny", "--folder", "here", "--out", "out"]) == 0
    encoder = Encoder.fit(Schema.load("out/schema.json"), "out/train.parquet", root="out")
    assert encoder.layout.rows["brand"] == 4


def test_datasets_fetch_needs_a_name(capsys):
    assert main(["datasets", "fetch"]) == 2
    message = "error: which data set? `clicksmith datasets fetch NAME`; `clicksmith datasets` lists them.\n"
    assert capsys.readouterr().err == message


def test_check_passes_a_good_model_and_fails_a_bad_one(tmp_path, capsys):
    good = "from clicksmith.models.fm import fm\nMODELS = {'mine': fm}\n"
    (tmp_path / "good.py").write_text(good)
    assert main(["check", str(tmp_path / "good.py")]) == 0
    assert "every check passed." in capsys.readouterr().out
    assert main(["check", str(tmp_path / "missing.py")]) == 2
    assert "there is no file" in capsys.readouterr().err
    bad = "def bad():\n    return 3\nMODELS = {'bad': bad, 'mine': fm}\n"
    (tmp_path / "bad.py").write_text(good.replace("MODELS = {'mine': fm}\n", bad))
    assert main(["check", str(tmp_path / "bad.py")]) == 1
    told = capsys.readouterr()
    assert "FAILED  gives a spec" in told.out and "bad returns 3; it must return a ModelSpec" in told.out
    assert told.out.endswith("1 check(s) failed.\n")
    assert "--model mine" in told.err and "--model bad" not in told.err


def test_fit_with_nothing_but_a_file_and_a_label(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["fit", str(folder() / "train.csv"), "--label", "click", "--model", "lr", "--epochs", "1", "--out", "run"]
    assert main([*argv, "--seed", "3"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"auc", "logloss"} <= set(metrics["valid"]) & set(metrics["test"])
    captured = capsys.readouterr()
    assert "rows: 1,200 train, 150 valid, 150 test" in captured.err
    assert "next:  clicksmith predict run NEW_ROWS.csv --out scores.csv" in captured.err


def test_fit_says_which_of_two_odd_labels_is_the_click(tmp_path, capsys):
    rows = pl.read_csv(folder() / "train.csv").with_columns(click=pl.col("click") * 2)
    rows.write_csv(tmp_path / "rows.csv")
    argv = ["fit", f"{tmp_path}/rows.csv", "--label", "click", "--model", "lr", "--epochs", "1", "--out"]
    assert main([*argv, f"{tmp_path}/run"]) == 0
    assert "label: '2' of 'click' counts as 1, every other value as 0" in capsys.readouterr().err


def test_nested_parts_are_set_by_path(tmp_path):
    at = folder()
    argv = ["fit", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--schema", f"{at}/schema.toml", "--model", "lr"]
    argv += ["--set", "embed.unseen_rate=0.1", "--epochs", "1", "--out", f"{tmp_path}/run", "--quiet"]
    assert main(argv) == 0
    assert json.loads((tmp_path / "run" / "model" / "spec.json").read_text())["embed"]["unseen_rate"] == 0.1


def test_fit_takes_a_data_set_declared_in_one_file(tmp_path, capsys):
    at = folder()
    text = f'train = "{at}/train.csv"\nvalid = "{at}/valid.csv"\nschema = "{at}/schema.toml"\n'
    (tmp_path / "shop.toml").write_text(text)
    argv = ["fit", f"{tmp_path}/shop.toml", "--model", "lr", "--epochs", "1", "--out", f"{tmp_path}/run", "--quiet"]
    assert main(argv) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["valid"]["rows"] == 300
    capsys.readouterr()
    for word, value in (("--valid", f"{at}/valid.csv"), ("--delimiter", ";")):
        assert main([*argv, word, value]) == 2
        assert capsys.readouterr().err == (
            f"error: '{tmp_path}/shop.toml' declares schema, files and how they are written itself; leave out {word}.\n"
        )


def test_every_verb_that_trains_takes_a_data_set_declared_in_one_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "data").mkdir()
    frame = pl.read_csv(folder() / "train.csv").select("user", "ad", "click")
    frame.write_csv(tmp_path / "data" / "rows.csv")
    frame.head(200).write_csv(tmp_path / "data" / "valid.csv")
    pl.DataFrame({"ad": [f"a{i}" for i in range(25)], "brand": [f"b{i % 4}" for i in range(25)]}).write_csv(
        tmp_path / "data" / "ads.csv"
    )
    schema = Schema(
        fields=(Categorical("user"), Categorical("brand")),
        label=Label("click"),
        tables=(SideTable("ads", "ads.csv", key="ad"),),
    )
    schema.save(tmp_path / "data" / "schema.toml")
    (tmp_path / "data" / "shop.toml").write_text('train = "rows.csv"\nvalid = "valid.csv"\nschema = "schema.toml"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["rank", "data/shop.toml", "--quiet"]) == 0
    assert "2 fields, 1,500 rows" in capsys.readouterr().out
    assert main(["tune", "data/shop.toml", "--model", "fm", "--print-space"]) == 0
    shared = ["--backbone", "fm", "--train.epochs", "1", "--quiet", "--out", "plan.json", "--search.share", "0.5"]
    assert main(["search", "frequent", "data/shop.toml", *shared]) == 0
    told = capsys.readouterr()
    assert "brand: " in told.out and "clicksmith fit data/shop.toml --model fm" in told.err
    for argv in (["describe", "data/shop.toml"], ["fit", "data/rows.csv", "--valid", "data/shop.toml"]):
        assert main(argv) == 2
        assert "'data/shop.toml' is no file of rows. A data set that it declares is the one TRAIN of fit" in (
            capsys.readouterr().err
        )


def test_a_plan_found_on_a_declared_data_set_fits_it_where_valid_rows_are_taken_off(tmp_path, capsys, monkeypatch):
    frame = pl.read_csv(folder() / "train.csv").select("user", "ad", "click")
    frame.head(900).write_csv(tmp_path / "train.csv")
    frame.tail(600).write_csv(tmp_path / "test.csv")
    Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click")).save(tmp_path / "schema.toml")
    (tmp_path / "shop.toml").write_text('train = "train.csv"\ntest = "test.csv"\nschema = "schema.toml"\n')
    monkeypatch.chdir(tmp_path)
    asked = ["--train.epochs", "1", "--quiet"]
    found = ["--backbone", "fm", "--out", "plan.json", "--search.share", "0.5"]
    assert main(["search", "frequent", "shop.toml", *found, *asked]) == 0
    assert main(["fit", "shop.toml", "--model", "fm", "--plan", "plan.json", "--out", "run", *asked]) == 0


def test_a_finished_run_is_told_and_what_comes_next_names_no_columns_the_run_remembers(tmp_path, capsys):
    lines = (folder() / "train.csv").read_text().splitlines()
    (tmp_path / "bare.csv").write_text("\n".join(lines[1:]) + "\n")
    argv = ["fit", f"{tmp_path}/bare.csv", "--columns", lines[0], "--label", "click", "--model", "lr"]
    assert main([*argv, "--epochs", "1", "--out", f"{tmp_path}/run"]) == 0
    assert "NEW_ROWS.csv --out scores.csv\n" in capsys.readouterr().err
    assert main([*argv, "--epochs", "1", "--out", f"{tmp_path}/run"]) == 0
    assert f"'{tmp_path}/run' is already finished, nothing was trained" in capsys.readouterr().err


def test_a_run_on_files_without_header_remembers_their_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pl.read_csv(folder() / "test.csv")
    bare, unlabelled, short = (
        frame.write_csv(include_header=False),
        frame.drop("click").write_csv(include_header=False),
        frame.drop("click", "device").write_csv(include_header=False),
    )
    for name, text in (("bare.csv", bare), ("new.csv", unlabelled), ("short.csv", short)):
        (tmp_path / name).write_text(text)
    schema, columns = str(folder() / "schema.toml"), ",".join(frame.columns)
    fitted = ["fit", "bare.csv", "--columns", columns, "--schema", schema, "--model", "lr", "--epochs", "1"]
    assert main([*fitted, "--out", "run", "--quiet"]) == 0
    assert "--columns" not in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "model" / "columns.json").read_text()) == frame.columns
    frame.drop("click").write_csv("header.csv")
    written: list[str] = []
    for name in ("bare.csv", "new.csv", "header.csv"):
        assert main(["predict", "run", name, "--keep", "user"]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1] == written[2]
    assert len(written[0].splitlines()) == 301
    assert main(["evaluate", "run", "bare.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 300
    assert main(["predict", "run", "short.csv"]) == 2
    assert capsys.readouterr().err == (
        "error: short.csv has no header and 4 cells in its first row; the rows that the model was trained on had 6 "
        "(user, ad, device, ...), without the label 5. Give the file's own column names, or a header. On the command "
        "line: --columns user,ad,device,price,seen_ads, in the file's order and with its other columns; those are what "
        "the model reads\n"
    )
    frame.drop("device").write_csv("missing.csv")
    assert main(["predict", "run", "missing.csv"]) == 2
    assert "no column named 'device'" in capsys.readouterr().err


def test_quickstart_learns_most_of_what_its_world_holds(tmp_path, capsys):
    assert main(["quickstart", "--out", str(tmp_path / "try"), "--rows", "20000"]) == 0
    auc, possible = map(float, re.search(r"AUC (\S+) of a possible (\S+),", capsys.readouterr().out).groups())
    world = ad_world(20_000, seed=0, settings=learnable())
    clicks = pl.read_csv(tmp_path / "try" / "data" / "test.csv")["click"].to_numpy()
    assert possible == pytest.approx(exact_auc(clicks, world.probabilities("test")), abs=1e-3)
    assert possible - 0.08 < auc < possible + 0.01


def test_describe_carries_its_options_into_the_next_command(tmp_path, capsys):
    (tmp_path / "my rows.csv").write_text("1^a\n0^b\n1^a\n0^a\n")
    assert main(["describe", str(tmp_path / "my rows.csv"), "--columns", "click,ad", "--delimiter", "^"]) == 0
    said = capsys.readouterr().err
    assert f"next:  clicksmith fit '{tmp_path}/my rows.csv' --label click --columns click,ad --delimiter '^'" in said


@pytest.mark.parametrize(
    "asked",
    [
        ["rank", "--plan", "plan.json", "--top", "2"],
        ["search", "random", "--search.share", "0.5", "--backbone", "lr", "--out", "plan.json"],
        ["describe"],
        ["describe", "--out", "schema.json"],
    ],
)
def test_the_next_command_runs_as_printed_on_a_file_without_header(asked, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = pl.read_csv(folder() / "train.csv").head(400).select("click", "ad", "user", "device")
    rows.write_csv("bare rows.csv", include_header=False, separator="^")
    label = [] if asked[0] == "describe" else ["--label", "click"]
    verb, rest = (asked[:2], asked[2:]) if asked[0] == "search" else (asked[:1], asked[1:])
    names = ["--columns", "click,ad,user,device", "--delimiter", "^"]
    assert main([*verb, "bare rows.csv", *label, *names, *rest]) == 0
    words = shlex.split(re.search("^next:  clicksmith (.*)$", capsys.readouterr().err, re.MULTILINE)[1])
    assert main([*words, "--model", "lr", "--epochs", "1", "--out", "run"]) == 0
    assert (tmp_path / "run" / "metrics.json").exists()


def test_evaluate_by_several_columns_given_one_by_one_or_together(capsys):
    found = []
    for words in (["--by", "device", "--by", "ad"], ["--by", "device", "ad"]):
        assert main(["evaluate", str(tiny_run()), str(folder() / "test.csv"), *words, "--json"]) == 0
        found.append({s["column"] for s in json.loads(capsys.readouterr().out)["slices"]})
    assert found == [{"device", "ad"}] * 2


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_evaluate_by_a_column_named_twice_shows_it_once(tmp_path, capsys, ending):
    rows, path = pl.read_csv(folder() / "test.csv"), tmp_path / f"rows.{ending}"
    {"csv": rows.write_csv, "jsonl": rows.write_ndjson, "parquet": rows.write_parquet}[ending](path)
    assert main(["evaluate", str(tiny_run()), str(path), "--by", "device", "device", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["slices"]) == 3


def test_evaluate_by_a_column_of_lists_is_refused_with_its_name(tmp_path, capsys):
    rows = pl.read_csv(folder() / "test.csv").with_columns(tags=pl.Series([[1, 2]] * 300))
    rows.write_parquet(tmp_path / "rows.parquet")
    assert main(["evaluate", str(tiny_run()), str(tmp_path / "rows.parquet"), "--by", "device", "tags"]) == 2
    assert capsys.readouterr().err.endswith(
        "rows.parquet: column 'tags' holds List(Int64), which is not one value a row; measure by another column.\n"
    )


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_bytes_and_spans_are_kept_and_compared_as_texts(form, tmp_path, capsys):
    rows = pl.read_csv(folder() / "test.csv").with_columns(
        code=pl.lit(b"\xffab"), span=pl.lit(dt.timedelta(seconds=90))
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    out = tmp_path / f"out.{form}"
    words = [str(tiny_run()), str(tmp_path / "rows.parquet")]
    assert main(["predict", *words, "--out", str(out), "--keep", "all"]) == 0
    if form != "parquet":
        text = out.read_text()
        assert "xffab" in text and "0:01:30" in text
    assert main(["evaluate", *words, "--by", "code", "span"]) == 0
    assert "0:01:30" in capsys.readouterr().out


def test_lists_and_structs_are_written_as_json_where_files_have_no_cell_for_them(tmp_path, capsys):
    rows = pl.read_csv(folder() / "test.csv").with_columns(
        extra=pl.Series([[1, 2]] * 300), more=pl.Series([{"a": 1}] * 299 + [None])
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    for ending, separator in (("csv", ","), ("tsv", "\t")):
        out = tmp_path / f"scores.{ending}"
        assert (
            main(["predict", str(tiny_run()), str(tmp_path / "rows.parquet"), "--out", str(out), "--keep", "all"]) == 0
        )
        frame = pl.read_csv(out, separator=separator)
        assert frame["extra"].to_list() == ["[1,2]"] * 300 and json.loads(frame["more"][0]) == {"a": 1}
    assert main(["predict", str(tiny_run()), str(tmp_path / "rows.parquet"), "--keep", "all"]) == 0
    assert '"[1,2]"' in capsys.readouterr().out


def test_files_whose_kept_columns_differ_in_type_are_scored_together(tmp_path):
    rows = pl.read_csv(folder() / "test.csv")
    for name, kind in (("one", pl.Int32), ("two", pl.Int64)):
        rows.with_columns(batch=pl.lit(7, kind)).write_parquet(tmp_path / f"{name}.parquet")
    out, pattern = tmp_path / "scores.parquet", str(tmp_path / "[ot]*.parquet")
    assert main(["predict", str(tiny_run()), pattern, "--out", str(out), "--keep", "batch"]) == 0
    assert pl.read_parquet(out)["batch"].to_list() == [7] * 600
    assert main(["evaluate", str(tiny_run()), pattern, "--by", "batch", "--json"]) == 0


def test_explain_measures_what_is_served(capsys):
    """The calibrated predictions, as `evaluate` does, not the logits of the network."""
    words = [str(tiny_run()), str(folder() / "test.csv")]
    assert main(["evaluate", *words, "--json"]) == 0
    wanted = json.loads(capsys.readouterr().out)["logloss"]
    assert main(["explain", *words, "--metric", "logloss", "--repeats", "1"]) == 0
    assert f"logloss {wanted:.5f} on 300 rows" in capsys.readouterr().err


def test_a_stray_file_among_the_predictions_is_no_obstacle_to_the_page(tmp_path):
    shutil.copytree(tiny_run(), tmp_path / "run")
    (tmp_path / "run" / "predictions" / "new.csv").write_text("a,b\n")
    assert main(["report", str(tmp_path / "run")]) == 0
