"""`clicksmith search graphhash`: from a file to a Plan that `fit` takes, with no backbone and no test row."""

import shlex

import polars as pl
import pytest

from clicks import SCHEMA as TOML
from clicks import clicks
from clicksmith.cli.main import main
from clicksmith.errors import UsageError
from clicksmith.fitting.job import fit
from clicksmith.plan import Plan
from clicksmith.schema import Schema
from clicksmith.search.job import search, start_of

ROWS = clicks(600)
LEFT_RIGHT = {"left": "user", "right": "ad"}


def test_the_command_writes_a_plan_that_fits(tmp_path, capsys):
    ROWS.write_csv(tmp_path / "train.csv")
    out = tmp_path / "plan.json"
    words = ["search", "graphhash", str(tmp_path / "train.csv"), "--label", "click", "--out", str(out), "--quiet"]
    words += ["--search.left", "user", "--search.right", "ad", "--search.rows", "6", "--search.edges", "all"]
    assert main(words) == 0
    assert "user: 40 ids share 6 rows (graphhash graph)" in capsys.readouterr().out
    (part,) = Plan.load(out).parts
    assert part.found_by.method == "graphhash" and part.found_by.backbone == ""
    assert {one.rows for one in part.slots.values()} == {8}
    run = fit(tmp_path / "train.csv", label="click", model="fm", epochs=1, plan=out, out=tmp_path / "run")
    assert run.predictor().artifact.encoder.layout.rows["user"] == 8
    assert Schema.load(f"{out}.search/schema.json") == run.predictor().schema  # for a fit that would propose another


def test_what_comes_next_reads_the_rows_as_the_search_did(tmp_path, capsys):
    ROWS.write_csv(tmp_path / "bare.csv", include_header=False, separator="^")
    words = ["search", "graphhash", str(tmp_path / "bare.csv"), "--label", "click", "--columns", ",".join(ROWS.columns)]
    words += ["--delimiter", "^", "--out", str(tmp_path / "plan.json"), "--search.left", "user", "--search.rows", "6"]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "40 ids of 'user' share 6 rows; the map takes" in told
    (command,) = (line.removeprefix("next:  clicksmith ") for line in told.splitlines() if line.startswith("next:"))
    assert "--model" not in command  # none was asked for
    assert main([*shlex.split(command), "--epochs", "1", "--out", str(tmp_path / "run"), "--quiet"]) == 0


def test_called_again_it_reads_the_plan_back(tmp_path):
    def found(seed):
        return search("graphhash", ROWS, label="click", out=tmp_path / "plan.json", options=LEFT_RIGHT, seed=seed)

    one = found(0)
    assert found(0) == one
    with pytest.raises(UsageError, match="holds another search"):
        found(1)


def test_a_search_that_failed_is_no_obstacle_to_the_mended_one(tmp_path):
    out = tmp_path / "plan.json"
    for wrong, message in (({"right": "add"}, "Did you mean 'ad'"), ({"rows": 900}, "no map is needed")):
        with pytest.raises(UsageError, match=message):
            search("graphhash", ROWS, label="click", out=out, options={**LEFT_RIGHT, **wrong})
        assert not out.exists()
    assert search("graphhash", ROWS, label="click", out=out, options=LEFT_RIGHT) == Plan.load(out)


def test_rows_that_do_not_train_change_nothing(tmp_path):
    train, valid = ROWS.head(400), ROWS.tail(200)
    plans = [
        search("graphhash", train, valid=v, label="click", out=tmp_path / name, options=LEFT_RIGHT)
        for name, v in (("one", valid), ("two", valid.head(90)))
    ]
    assert plans[0].digest == plans[1].digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "left is missing: name the id field whose ids are to share rows"),
        ({"left": "user", "right": "add"}, "right is 'add': no id field named 'add'.*Did you mean 'ad'"),
        ({"left": "user", "right": "user"}, "are the same ids"),
        ({"left": "price", "right": "user"}, "'price' is numeric"),
        ({**LEFT_RIGHT, "rows": 0.5, "lefts": 1}, "no option of graphhash named 'lefts'"),
        (
            {"left": "user", "kind": "random", "resolution": 2.0},
            "resolution does nothing with kind 'random': it is of gr",
        ),
        (
            {"left": "user", "kind": "rate", "edges": "all"},
            "edges does nothing with kind 'rate': it is of .*, lsh; leave",
        ),
        ({"left": "user", "kind": "lsh", "library": "networkit"}, "library does nothing with kind 'lsh'"),
        ({"left": "user", "smoothing": 3.0}, "smoothing does nothing with kind 'graph': it is of rate, graph_rate"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        search("graphhash", ROWS, label="click", out=tmp_path / "plan.json", options=options)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, [], "left is missing: name the id field whose ids are to share rows, --search.left NAME;"),
        ({}, ["--search.left", "user", "--search.right", "user"], "'user' are the same ids; name two different"),
        ({}, ["--search.left", "seen_ads"], "'seen_ads' is a history; a graph is made of fields with one id per row"),
        ({}, ["--search.left", "price"], "'price' is numeric; a graph is made of fields with one id per row: user, ad"),
        ({"user": pl.lit("u1")}, ["--search.left", "user"], "'user' has 1 id in the training rows; nothing can be"),
        ({}, ["--search.left", "user", "--search.rows", "1"], "--search.rows 1: rows is 1.0; give a share of the ids"),
        ({}, ["--search.left", "user", "--search.rows", "40"], "field 'user': a map to 40 rows for 40 ids: with as"),
        ({}, ["--search.left", "user", "--search.resolution", "-1"], "the resolution is -1.0; it must be above 0"),
        ({}, ["--search.left", "user", "--search.rows", "nan"], "--search.rows got 'nan', which is not a number or"),
    ],
)  # fmt: skip
def test_the_command_names_what_is_wrong_in_one_line(tmp_path, capsys, change, words, message):
    ROWS.with_columns(**change).write_csv(tmp_path / "train.csv")
    (tmp_path / "schema.toml").write_text(TOML)
    asked = ["search", "graphhash", str(tmp_path / "train.csv"), "--schema", str(tmp_path / "schema.toml"), "--quiet"]
    assert main([*asked, "--out", str(tmp_path / "plan.json"), *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and message in told
    assert not (tmp_path / "plan.json").exists()


def test_ids_that_the_map_does_not_know_are_told_when_quiet(tmp_path, capsys):
    ROWS.write_csv(tmp_path / "train.csv")
    ROWS.with_columns(user=pl.format("new{}", "user")).write_csv(tmp_path / "valid.csv")
    words = ["search", "graphhash", str(tmp_path / "train.csv"), "--valid", str(tmp_path / "valid.csv"), "--label",
             "click", "--out", str(tmp_path / "plan.json"), "--search.left", "user", "--quiet"]  # fmt: skip
    assert main(words) == 0
    assert "note: valid: user: 100% of values unseen" in capsys.readouterr().err


def test_nothing_that_trains_is_searched_over_sums_of_two_rows(tmp_path):
    double = tmp_path / "double.json"
    search("graphhash", ROWS, label="click", out=double, options={**LEFT_RIGHT, "kind": "double"})
    with pytest.raises(UsageError, match="the ids of user, ad are mapped to sums of two rows"):
        search("optfs", ROWS, label="click", backbone="fm", out=tmp_path / "plan.json", plan=double)
    with pytest.raises(UsageError, match="the search optfs trains a backbone; name one"):
        search("optfs", ROWS, label="click", out=tmp_path / "other.json")


def test_a_map_that_could_not_follow_what_was_found_is_refused_before_the_graph_is_made(tmp_path):
    asked = {"label": "click", "valid": ROWS.tail(100)}
    given = {**asked, "backbone": "fm", "model_options": {"dim": 4}, "settings": {"epochs": 1, "batch_size": 100}}
    columns, double = tmp_path / "columns.json", tmp_path / "double.json"
    search("columns_random", ROWS.head(500), out=columns, options={"share": 0.5, "start": "fresh"}, **given)
    search("graphhash", ROWS.head(500), out=double, options={**LEFT_RIGHT, "kind": "double", "maps": "left"}, **asked)
    for before, options, says in (
        (columns, LEFT_RIGHT, "gives the ids of 'user' their columns, which a map would join; search maps first"),
        (double, LEFT_RIGHT, "maps the ids of 'user' to sums of two rows already"),
    ):
        with pytest.raises(UsageError, match=says):
            search("graphhash", ROWS.head(500), out=tmp_path / "no.json", plan=before, options=options, **asked)
    beside = {**LEFT_RIGHT, "maps": "right"}  # of the other side there is no map yet
    found = search("graphhash", ROWS.head(500), out=tmp_path / "ad.json", plan=double, options=beside, **asked)
    assert list(found.parts[0].slots) == ["ad"]


def test_what_trains_nothing_works_under_columns_of_any_length(tmp_path):
    asked = {"label": "click", "valid": ROWS.tail(100)}
    given = {**asked, "backbone": "fm", "model_options": {"dim": 4}, "settings": {"epochs": 1, "batch_size": 100}}
    columns = tmp_path / "columns.json"
    search("columns_random", ROWS.head(500), out=columns, options={"share": 0.5, "start": "fresh"}, **given)
    found = search("frequent", ROWS.head(500), out=tmp_path / "kept.json", plan=columns, **asked)
    assert found.parts[0].found_by.backbone == ""


def test_a_start_file_is_of_its_map_and_not_of_another_one_of_the_same_size(tmp_path):
    rows, given = {"label": "click", "valid": ROWS.tail(100)}, {"backbone": "fm", "model_options": {"dim": 4}}
    for kind in ("random", "frequency"):
        options = {**LEFT_RIGHT, "kind": kind, "rows": 6}
        search("graphhash", ROWS.head(500), out=tmp_path / f"{kind}.json", options=options, **rows)
    warm = tmp_path / "warm.json"
    search("warm", ROWS.head(500), out=warm, plan=tmp_path / "random.json", **rows, **given)
    fitted = {"model": "fm", "options": {"dim": 4}, "start": start_of(warm), "epochs": 1, **rows}
    fit(ROWS.head(500), plan=tmp_path / "random.json", out=tmp_path / "one", **fitted)
    with pytest.raises(UsageError, match=r"weights of another model: it goes with the Plan of its search"):
        fit(ROWS.head(500), plan=tmp_path / "frequency.json", out=tmp_path / "two", **fitted)
