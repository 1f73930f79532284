"""The command line as a whole: verbs, help, mistakes, interruption."""

import os
import re
import subprocess
import sys
import time

import pytest

from clicks import folder
from clicksmith.cli import main as cli
from clicksmith.cli.main import VERBS, main
from clicksmith.cli.options import typed
from clicksmith.cli.parse import EXTRA
from clicksmith.errors import UsageError


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


def test_no_verb_shows_help(capsys):
    assert main([]) == 0
    assert "usage: clicksmith VERB" in capsys.readouterr().out


def test_a_misspelled_verb_names_the_nearest(capsys):
    assert main(["fitt"]) == 2
    assert (
        capsys.readouterr().err == "error: no verb named 'fitt'. Did you mean 'fit'? `clicksmith --help` lists them.\n"
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_teaches_by_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert f"usage: clicksmith {verb}" in text
    assert f"\n  clicksmith {verb}" in text


def test_the_package_runs_as_the_command():
    call = [sys.executable, "-m", "clicksmith", "fti"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no verb named 'fti'. Did you mean 'fit'?")


def test_values_of_an_option_given_twice_are_not_lost(capsys):
    asked = ["bench", "run", "frappe_x1", "--models", "fm", "--models", "lr"]
    assert main(asked) == 2
    assert "--models is given 2 times; give all its values after one" in capsys.readouterr().err
    assert main(["fit", "a.csv", "--models", "one.py", "--models", "two.py"]) == 2  # of a group of options
    assert "--models is given 2 times; give all its values after one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "fit a.csv --plan",
        "fit a.csv --plan --label click",
        "fit --models --label click a.csv",
        "fit a.csv --label",
        "evaluate run a.csv --by",
        "rank a.csv --min_z --quiet",
        "bench run a.toml --models --quiet",
        "plan merge a.json --out",
        "fit a.csv --plan=",
    ],
)
def test_an_option_without_its_value_is_refused(words, capsys):
    assert main(words.split()) == 2
    flag = re.search("--plan|--models|--by|--min_z|--out|--label", words)[0].replace("_", "-")
    assert capsys.readouterr().err.startswith(f"error: {flag} stands without a value; give {flag} ")


def test_negative_numbers_are_values(capsys):
    assert main(["rank", "a.csv", "--min-z", "-1"]) == 2
    assert "--min-z says what a plan keeps" in capsys.readouterr().err


def test_an_unknown_option_names_the_nearest(capsys):
    assert main(["fit", "a.csv", "--lable", "click"]) == 2
    message = (
        "error: no option of `clicksmith fit` named '--lable'. Did you mean '--label'? See `clicksmith fit --help`.\n"
    )
    assert capsys.readouterr().err == message


def test_what_another_verb_calls_the_option_names_it(capsys):
    assert main(["search", "optfs", "a.csv", "--model", "fm"]) == 2
    assert "named '--model'. Known: --backbone." in capsys.readouterr().err
    assert main(["fit", "a.csv", "--backbone", "fm"]) == 2
    assert "named '--backbone'. Known: --model." in capsys.readouterr().err


def test_a_value_of_another_type_is_told_in_one_line(capsys):
    assert main(["fit", "a.csv", "--epochs", "many"]) == 2
    assert capsys.readouterr().err == (
        "error: --epochs got 'many', which is not a whole number; see `clicksmith fit --help`.\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rank a.csv --holdout x", "--holdout got 'x', which is not a number; see `clicksmith rank --help`."),
        ("rank a.csv --pairs 1.5", "--pairs got '1.5', which is not a whole number; see `clicksmith rank --help`."),
        ("tune a.csv --timeout x", "--timeout got 'x', which is not a number; see `clicksmith tune --help`."),
        ("tune a.csv --pruner x", "--pruner got 'x', which is not asha|hyperband|none. See `clicksmith tune --help`."),
        ("datasets lits", "action got 'lits', which is not list|fetch|verify|synthetic. Did you mean 'list'? See "
                          "`clicksmith datasets --help`."),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_in_plain_words(words, message, capsys):
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize("frame", ["utf-8", "ascii"])
def test_a_choice_that_is_none_names_the_choices_and_the_nearest(frame):
    """Whatever the terminal, which decides what is drawn around the message."""
    command = [sys.executable, "-m", "clicksmith.cli.main", "fit", "a.csv", "--calibration", "plat"]
    environment = {**os.environ, "PYTHONIOENCODING": frame}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: --calibration got 'plat', which is not platt|isotonic|none. Did you mean 'platt'? "
        "See `clicksmith fit --help`.\n"
    )


def test_a_missing_argument_is_told_in_one_line(capsys):
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == "error: TRAIN is missing; see `clicksmith fit --help`.\n"


def test_ctrl_c_says_how_to_resume(capsys, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_verb", interrupt)
    assert main(["fit", "my clicks.csv", "--label", "y"]) == 130
    assert capsys.readouterr().err == "\ninterrupted. resume with: clicksmith fit 'my clicks.csv' --label y\n"


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def full(arguments):
        raise OSError(28, "No space left on device", "run/weights")

    monkeypatch.setattr(cli, "run_verb", full)
    assert main(["fit", "a.csv"]) == 2
    assert capsys.readouterr().err == (
        "error: no space left on the disk while writing 'run/weights'; nothing was changed. "
        "Free some space and run again.\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "[enforce fail] DefaultCPUAllocator: can't allocate memory",
        "CUDA out of memory. x",
        "Overflow when unpacking long long",
    ],
)
def test_memory_that_is_not_there_is_told_as_such(capsys, monkeypatch, text):
    def none(_):
        raise RuntimeError(text)

    monkeypatch.setattr("clicksmith.cli.fit.main", none)
    assert main(["fit", "x.csv"]) == 2
    assert capsys.readouterr().err == "error: not enough memory; use a smaller --train.batch-size or --model.dim.\n"


def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m clicksmith.cli.main --help | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_starts_fast_and_without_torch():
    code = (
        "import sys, time\nfrom clicksmith.cli.main import main\nmain(['--help'])\n"
        "print(time.process_time(), 'torch' in sys.modules, 'polars' in sys.modules, file=sys.stderr)"
    )
    costs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, torch, polars = done.stderr.split()
        assert (torch, polars) == ("False", "False")
        costs.append(float(seconds))
        time.sleep(0.05)
    assert min(costs) < 0.4


def test_what_nobody_foresaw_is_one_line_and_its_place_on_demand(monkeypatch, capsys):
    def broken(arguments):
        raise RuntimeError("negative\ndimension")

    monkeypatch.setattr(cli, "run_verb", broken)
    monkeypatch.delenv("CLICKSMITH_TRACEBACK", raising=False)
    assert main(["fit"]) == 70
    assert capsys.readouterr().err == (
        "unexpected: RuntimeError: negative dimension — this is a mistake of clicksmith, please report it; "
        "CLICKSMITH_TRACEBACK=1 shows where.\n"
    )
    monkeypatch.setenv("CLICKSMITH_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(["fit"])


OWN = """from clicksmith.models.fm import fm
from clicksmith.models.spec import ModelSpec
def mine(*, dim: int = 4, wings: int = 2) -> ModelSpec:
    \"\"\"Flies.\"\"\"
    return fm(dim={4: dim}[wings * 2])
"""


def test_an_error_in_a_model_of_ones_own_names_its_place(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CLICKSMITH_TRACEBACK", raising=False)
    (tmp_path / "own.py").write_text(OWN)
    own = ["--models", f"{tmp_path}/own.py", "--model.wings", "3", "--out", f"{tmp_path}/out"]
    for verb in (["fit"], ["search", "optfs", "--backbone", "mine"], ["tune", "--model", "mine"]):
        assert main([*verb, f"{folder()}/train.csv", "--label", "click", *own]) == 2
        assert capsys.readouterr().err == (
            f"error: '{tmp_path}/own.py', line 5: KeyError: 6 (in your own model; CLICKSMITH_TRACEBACK=1 shows how it "
            "was called)\n"
        )
    assert not (tmp_path / "out").exists()


def test_of_several_models_of_ones_own_one_is_named(tmp_path, capsys):
    (tmp_path / "own.py").write_text(f"{OWN}def other() -> ModelSpec: ...\n")
    assert main(["fit", f"{folder()}/train.csv", "--label", "click", "--models", f"{tmp_path}/own.py"]) == 2
    assert capsys.readouterr().err.endswith("own.py hold several models: mine, other; name one with --model.\n")


def test_beside_a_model_of_ones_own_a_mistake_may_be_its(capsys, monkeypatch):
    def broken(_):
        raise AttributeError("'int' object has no attribute 'logit'")

    monkeypatch.setattr(cli, "run_verb", broken)
    monkeypatch.delenv("CLICKSMITH_TRACEBACK", raising=False)
    assert main(["fit", "a.csv", "--models", "own.py"]) == 70
    assert "please report it, unless `clicksmith check FILE` finds one in your own models;" in capsys.readouterr().err


def test_help_shows_the_options_of_a_model_of_ones_own_and_the_nearest_of_a_misspelled_one(tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    named = {"fit": [], "tune": ["--model", "mine"], "search": ["optfs", "--backbone=mine"]}  # `fit` takes the only one
    for verb, words in named.items():
        with pytest.raises(SystemExit) as stop:
            main([verb, *words, "--models", f"{tmp_path}/own.py", "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert not stop.value.code and "options of mine: Flies. --model.dim INT (default: 4) --model.wings INT" in text
        assert "options of training: --train.epochs INT (by data size)" in text
    for words in (["fit", "--model", "dcnv"], ["tune", "--model", "dcnv"], ["search", "optfs", "--backbone", "dcnv"]):
        assert main([*words, "--help"]) == 2
        assert capsys.readouterr().err == "error: no model named 'dcnv'. Did you mean 'dcnv2'?\n"


@pytest.mark.parametrize("verb", ["fit --model", "tune --out x --model", "search optfs --out x --backbone"])
def test_an_option_of_a_model_without_options_is_told(verb, capsys):
    assert main([*verb.split(), "lr", f"{folder()}/train.csv", "--model.dim", "0"]) == 2
    assert capsys.readouterr().err == "error: --model.dim: the model lr has no options; leave it out.\n"


def test_names_of_other_libraries_are_known():
    with pytest.raises(UsageError) as found:
        typed({"lr": "0.1"}, {"lr_floor": float, "learning_rate": float}, "--train.")
    assert str(found.value) == "no option named '--train.lr'. Did you mean '--train.learning-rate'?"


def test_help_of_fit_shows_every_option_that_is_taken_before_the_others(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in EXTRA["fit"])


def test_help_says_which_settings_depend_on_the_data(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    lines = capsys.readouterr().out.splitlines()
    told = {"epochs": "(by data size)", "batch-size": "(by data size)", "table-l2": "(by data size and kind of model)"}
    told |= {"patience": "(default: 3)", "plateau-factor": "(default: 0.5)", "average": "(default: 1)"}
    for name, end in told.items():
        assert next(line for line in lines if f"--train.{name} " in line).rstrip().endswith(end)


def test_help_of_fit_begins_with_what_a_beginner_needs(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    text = capsys.readouterr().out
    titles = ("positional arguments", "options", "data options", "run options")
    groups = [re.search(rf"^\W* {title} \W*$", text, re.MULTILINE).start() for title in titles]
    places = [
        text.index(f" --{name} ", groups[1])
        for name in ("label", "valid", "test", "model", "out", "epochs", "seed", "schema", "delimiter", "calibration")
    ]
    assert groups == sorted(groups)
    assert places == sorted(places)
    assert places[6] < groups[2] < places[7] < places[8] < groups[3] < places[9] < text.index("options of training:")


def test_a_misspelled_option_of_a_group_names_the_nearest(capsys):
    assert main(["fit", "a.csv", "--calibratoin", "none"]) == 2
    assert "Did you mean '--calibration'?" in capsys.readouterr().err
