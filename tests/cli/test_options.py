"""Dotted options get their types from signatures, and mistakes name the nearest right one."""

import pytest

from clicksmith.cli.options import literal, option_hints, option_lines, take_dotted, take_sets, type_name, typed
from clicksmith.errors import UsageError


def backbone(
    *, dim: int = 16, units: tuple[int, ...] = (64, 32), dropout: float = 0.0, batch_norm: bool = False
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


def test_a_value_of_another_type_is_refused_with_the_type_wanted():
    with pytest.raises(UsageError, match=r"^--model.dim got 'big', which is not INT\.$"):
        typed({"dim": "big"}, HINTS, "--model.")
    with pytest.raises(UsageError, match=r"^--model.units got 'a,b', which is not INT,INT,\.\.\.\.$"):
        typed({"units": "a,b"}, HINTS, "--model.")


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


def test_literals_are_json_or_words():
    assert literal("relu") == "relu"
    assert literal("none") is None
    assert literal("0.5") == 0.5
    assert type_name(int | None) == "INT|none"
