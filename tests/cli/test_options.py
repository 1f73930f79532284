"""Dotted options get their types from signatures, and mistakes name the nearest right one."""

import inspect

import pytest
import torch

from clicks import folder
from clicksmith.cli.main import main
from clicksmith.cli.options import (
    field_docs,
    literal,
    option_hints,
    option_lines,
    options_of,
    take_dotted,
    take_sets,
    training_options,
    type_name,
    typed,
)
from clicksmith.errors import UsageError
from clicksmith.search.methods import SEARCHES
from clicksmith.train.settings import TrainSettings


def backbone(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (64, 32),
    dropout: float = 0.0,
    batch_norm: bool = False,
    shares: tuple[float, ...] = (),
) -> None:
    """A stand-in for a backbone's function."""


HINTS = option_hints(backbone)


def test_dotted_options_leave_the_rest_of_the_line_in_order():
    rest, taken = take_dotted(
        ["a.csv", "--model.batch-norm", "--label", "y", "--model.dim=8", "--model", "fm"], "model"
    )
    assert rest == ["a.csv", "--label", "y", "--model", "fm"]
    assert taken == {"batch_norm": "true", "dim": "8"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("dim", "32", 32),
        ("units", "400,400", (400, 400)),
        ("units", "[7]", (7,)),
        ("units", "7", (7,)),
        ("dropout", "1e-3", 1e-3),
        ("dropout", "0", 0.0),
        ("dropout", ".5", 0.5),
        ("shares", "[-.5,.25, 1.5,.1e-1]", (-0.5, 0.25, 1.5, 0.01)),
        ("shares", ".5,.5", (0.5, 0.5)),
        ("batch_norm", "true", True),
        ("batch_norm", "False", False),
    ],
)
def test_text_becomes_the_type_of_the_signature(name, text, value):
    result = typed({name: text}, HINTS, "--model.")[name]
    assert result == value
    assert type(result) is type(value)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UsageError, match=r"^no option named '--model.dimm'. Did you mean '--model.dim'\?$"):
        typed({"dimm": "3"}, HINTS, "--model.")
    with pytest.raises(UsageError, match=r"^no option named '--model.xyz'. Known: --model\."):
        typed({"xyz": "3"}, HINTS, "--model.")  # what stands before every name makes no two of them alike


def test_a_value_of_another_type_is_refused_with_the_type_wanted():
    with pytest.raises(UsageError, match=r"^--model.dim got 'big', which is not a whole number\.$"):
        typed({"dim": "big"}, HINTS, "--model.")
    with pytest.raises(
        UsageError, match=r"^--model.units got 'a,b', which is not whole numbers with commas between\.$"
    ):
        typed({"units": "a,b"}, HINTS, "--model.")


FIT, SEARCH, HASH = "fit TRAIN", "search optfs TRAIN --backbone fm --out plan", "search graphhash TRAIN --out plan"
TUNE, BENCH = "tune TRAIN --model fm --out tuned", "bench run TRAIN"


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        (FIT, "--train.learning-rate 0", "--train.learning-rate 0: learning_rate is 0.0; it must be positive and"),
        (FIT, "--train.batch-size=0 --train.steps 3", "--train.batch-size 0: batch_size is 0; it must be at least 1."),
        (FIT, "--train.accumulate 9 --train.epochs 2 --train.batch-size 4", "--train.accumulate 9, --train.batch-"),
        (FIT, "--epochs 0", "--epochs 0: epochs is 0; it must be at least 1."),
        (FIT, "--train.monitor acc", "--train.monitor got 'acc', which is not auc|gauc|"),
        (FIT, "--model dnn --model.dropout 2", "--model.dropout 2: dropout 2.0 is not in [0, 1);"),
        (FIT, "--model finalmlp --model.heads 7 --set embed.dim=8", "--model.heads 7, --set embed.dim=8: stream"),
        (FIT, "--model dssm --model.item-fields itm", "--model.item-fields itm: names of 'picked': no field named"),
        (SEARCH, "--search.penalty -1 --search.epochs 2", "--search.penalty -1: penalty is -1.0; it must be at least"),
        (SEARCH, "--model.dim 0", "--model.dim 0: the embedding dim is 0;"),
        (SEARCH.replace("fm", "dnn"), "--model.units 0", "--model.units 0: MLP units (0,) hold a width below 1;"),
        (FIT, f"--seed {1 << 63}", f"--seed {1 << 63}: seed is {1 << 63}; it must be below 2^63."),
        (SEARCH, "--seed -1", "--seed -1: seed is -1; it must be at least 0."),
        (HASH, "--search.left a --search.rows -1", "--search.rows -1: rows is -1.0; give a share"),
        (HASH, "--search.rows -1", "left is missing: name the id field whose ids are to share"),
        (TUNE, "--train.lr-floor -1", "--train.lr-floor -1: lr_floor is -1.0;"),
        (BENCH, "--train.epochs 0", "--train.epochs 0: epochs is 0;"),
        (FIT, "--epochs 5 --train.epochs 3", "--epochs 5 and --train.epochs 3 are one setting; leave one out."),
        (FIT, "--seed 5 --train.seed=3", "--seed 5 and --train.seed 3 are one setting; leave one out."),
        (SEARCH, "--seed 5 --train.seed 3", "--seed 5 and --train.seed 3 are one setting; leave one out."),
        (TUNE, "--seed 5 --train.seed 3", "--seed 5 and --train.seed 3 are one setting; leave one out."),
        (FIT, "--model fm --model.dim 4 --set dim=8", "--model.dim 4 and --set dim=8 are one option; leave one out."),
    ],
)
def test_a_value_that_is_refused_is_told_with_its_flag(verb, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = f"{verb} {options}".replace("TRAIN", f"{folder()}/train.csv").split()
    assert main(words if words[0] == "bench" else [*words, "--label", "click"]) == 2
    assert capsys.readouterr().err.removeprefix("error: ").removeprefix("options of graphhash: ").startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--train.monitor gauc", "--train.monitor gauc: monitor='gauc' needs groups; declare a group column"),
        ("--train.accumulate 100000", "--train.accumulate 100000: accumulate is 100000 with batch_size "),
        pytest.param(
            "--train.device cuda",
            "--train.device cuda: device='cuda' and torch sees no GPU here;",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
@pytest.mark.parametrize("verb", [FIT, SEARCH])
def test_a_setting_that_the_data_or_the_machine_refuse_is_told_with_its_flag(
    verb, options, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("x,y,click\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(200)))
    assert main([*f"{verb} {options}".replace("TRAIN", "t.csv").split(), "--label", "click", "--quiet"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].removeprefix("error: ").startswith(message)


CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--valid bare.csv", "bare.csv: no column named 'click'."),
        ("--train.monitor gauc", "--train.monitor gauc: monitor='gauc' needs groups;"),
        pytest.param(
            "--train.device cuda", "--train.device cuda: device='cuda' and torch sees no GPU here;", marks=CUDA
        ),
    ],
)
@pytest.mark.parametrize("verb", [FIT, SEARCH, TUNE])
def test_what_is_known_before_rows_are_encoded_is_refused_then(verb, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,y,click\n{rows}")
    (tmp_path / "bare.csv").write_text(f"x,y,z\n{rows}")
    assert main([*f"{verb} {options}".replace("TRAIN", "t.csv").split(), "--label", "click"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "bare.csv"}


@pytest.mark.parametrize(
    "words",
    [
        "rank TRAIN --label click --out t.csv/out",
        "rank TRAIN --label click --plan t.csv/plan.json",
        "bench run shop.toml --models lr --results t.csv/out --cache cache",
        "predict no_run TRAIN --out t.csv/scores.parquet",
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("x,click\n" + "1,0\n2,1\n" * 30)
    fields = 'label = {kind = "label", name = "click"}\nfields = [{kind = "categorical", name = "x"}]\n'
    (tmp_path / "shop.toml").write_text(f'train = "t.csv"\nvalid = "t.csv"\ntest = "t.csv"\n[schema]\n{fields}')
    assert main(words.replace("TRAIN", "t.csv").split()) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "", "error: 't.csv' is a file where a folder is to be written; remove it or choose another name.\n"
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "shop.toml"}


def test_a_tuning_that_ended_before_its_first_trial_is_no_obstacle_to_the_mended_one(tmp_path, capsys):
    train, out = folder() / "train.csv", f"{tmp_path}/out"
    clicks = (line for line in train.read_text().splitlines() if line.endswith(("1", "click")))
    (tmp_path / "ones.csv").write_text("\n".join(clicks))
    words = ["tune", f"{train}", "--label", "click", "--model", "lr", "--trials", "1", "--train.epochs=1", "--out", out]
    assert main([*words, "--valid", f"{tmp_path}/ones.csv"]) == 2
    assert "validation labels are 1" in capsys.readouterr().err
    assert main([*words, "--quiet"]) == 0


def test_what_a_search_finds_in_its_way_is_told_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "plan").mkdir()
    assert main([*SEARCH.replace("TRAIN", f"{folder()}/train.csv").split()[:-1], f"{tmp_path}/plan"]) == 2
    assert f"'{tmp_path}/plan' is there already, and of no search that is known here" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_one_setting_may_be_given_in_two_ways_with_one_value():
    assert training_options({"epochs": "3", "seed": "1"}, epochs=3, seed=None) == {"epochs": 3, "seed": 1}


def test_what_options_are_refused_for_is_found_by_leaving_them_out():
    def pair(*, low: int = 0, high: int = 9, other: int = 0) -> None:
        if low > high:
            raise UsageError("low is above high.")
        if other:
            raise UsageError("other is not 0.")

    texts = {"low": "5", "high": "3", "other": "1"}
    with pytest.raises(UsageError, match=r"^--low 5, --high 3: low is above high\.$"):
        options_of(pair, texts, "--")
    with pytest.raises(UsageError, match=r"^--other 1: other is not 0\.$"):
        options_of(pair, {**texts, "high": "8"}, "--")
    with pytest.raises(UsageError, match=r"^no option named '--other'\."):
        options_of(pair, texts, "--", but=("other",))


def test_set_takes_pairs_and_refuses_anything_else():
    assert take_sets(["x", "--set", "dim=3", "--set=interact.units=[1,2]"]) == (
        ["x"],
        {"dim": "3", "interact.units": "[1,2]"},
    )
    with pytest.raises(UsageError, match=r"^--set got 'dim'; write it as --set name=value\.$"):
        take_sets(["--set", "dim"])


def test_help_lines_show_flag_type_and_default():
    lines = option_lines(backbone, "--model.")
    assert lines[0].split() == ["--model.dim", "INT", "(default:", "16)"]
    assert lines[1].split() == ["--model.units", "INT,INT,...", "(default:", "64,32)"]


def test_help_says_under_each_option_what_its_class_says_of_the_field():
    text = " ".join(" ".join(option_lines(TrainSettings, "--train.")).split())
    assert "--train.batch-size INT (default: 4096) Rows per step. --train.accumulate" in text
    longest = max(len(line) for line in option_lines(TrainSettings, "--train.") if line.startswith("      "))
    assert 60 < longest <= 120
    assert not any("--train.seed" in line for line in option_lines(TrainSettings, "--train.", but=("seed",)))


@pytest.mark.parametrize("options", [TrainSettings, *(one.options for one in SEARCHES.values())])
def test_every_setting_of_training_and_searches_is_explained(options):
    assert set(inspect.signature(options).parameters) <= set(field_docs(options))


def test_help_of_a_method_and_of_a_model_explains_its_options(capsys):
    with pytest.raises(SystemExit):
        main(["search", "optfs", "--help"])
    text = capsys.readouterr().out
    assert "usage: clicksmith search [-h] [OPTIONS] METHOD TRAIN" in text
    assert text.index("methods:") < text.index("options of optfs:") < text.index("c_0, where every gate begins.")
    with pytest.raises(SystemExit):
        main(["fit", "--model", "finalmlp", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "options of finalmlp: Two gated streams of dense layers that meet in a bilinear form." in text


def test_literals_are_json_or_words():
    assert literal("relu") == "relu"
    assert literal("none") is None
    assert (literal(".toml"), literal("v1.5"), literal("../x.5")) == (".toml", "v1.5", "../x.5")
    assert literal("0.5") == 0.5
    assert type_name(int | None) == "INT|none"
