"""What metrics refuse, with the text of each message."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.scored import scored, sigmoid

REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"labels": [], "logits": []},
        "there are no rows to evaluate: labels is empty. Check the file or the filter that made it.",
    ),
    (
        {"labels": [0, 1, 1], "logits": [0.1, 0.2]},
        "2 logits for 3 labels; pass one value a row, in the same order.",
    ),
    (
        {"labels": [0, 1, 1], "logits": [0.1, np.nan, np.inf]},
        "logits, row 1: nan is not finite (and 1 more); the model diverged or the file is damaged.",
    ),
    (
        {"labels": [0, 1], "probabilities": [0.5, 1.5]},
        "probabilities, row 1: 1.5 is outside [0, 1]; pass logits= if these are logits.",
    ),
    (
        {"labels": [0, 2, 1], "logits": [0.0, 0.0, 0.0]},
        "labels, row 1: 2 is neither 0 nor 1; map labels to 0 and 1 first.",
    ),
    (
        {"labels": [0.0, np.nan], "logits": [0.0, 0.0]},
        "labels, row 1: nan is neither 0 nor 1; map labels to 0 and 1 first.",
    ),
    (
        {"labels": ["no", "yes"], "logits": [0.0, 0.0]},
        "labels have type <U3, which is not a number; map them to 0 and 1 first.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "weights": [1.0, -1.0]},
        "weights, row 1: -1.0 is not a weight; weights are finite, at most 3e38, and not negative.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "weights": [0, 0]},
        "all weights are 0; give at least one row a positive weight.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "groups": [1]},
        "1 groups for 2 labels; pass one value a row, in the same order.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "groups": [1.0, np.nan]},
        "groups, row 1: nan is not a group; name a group for every row.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "groups": ["a", None]},
        "groups, row 1: None is not a group; name a group for every row.",
    ),
    (
        {"labels": [0, 1], "logits": [[0.0, 1.0], [0.0, 1.0]]},
        "logits have shape (2, 2); pass one axis, one value a row (one output at a time).",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "weights": ["a", "b"]},
        "weights have type <U1, which is not a number; pass floats.",
    ),
    (
        {"labels": [0, 1], "logits": [0.0, 0.0], "weights": [1.0, 1e308]},
        "weights, row 1: 1e+308 is not a weight; weights are finite, at most 3e38, and not negative.",
    ),
    (
        {"labels": [0, 1], "logits": ["a", "b"]},
        "logits have type <U1, which is not a number; pass floats.",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_bad_input_is_refused_with_the_row_and_the_cure(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        scored(**given)
    assert str(error.value) == message


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_group_is_refused_with_its_row_whatever_stands_for_it(missing: Any) -> None:
    for groups in (np.array(["u", missing], dtype=object), pd.Series(["u", missing], dtype="string")):
        with pytest.raises(DataError, match=r"^groups, row 1: .* is not a group; name a group for every row\.$"):
            scored([0, 1], logits=[0.0, 1.0], groups=groups)


def test_logits_or_probabilities_not_both_not_neither() -> None:
    with pytest.raises(
        UsageError, match=r"^neither of logits= and probabilities= was given; pass exactly one of them.$"
    ):
        scored([0, 1])
    with pytest.raises(UsageError, match=r"^both of logits= and probabilities= was given"):
        scored([0, 1], logits=[0.0, 1.0], probabilities=[0.5, 0.5])


def test_logits_and_probabilities_describe_the_same_rows() -> None:
    logits = np.linspace(-30, 30, 13)
    from_logits = scored(np.arange(13) % 2, logits=logits)
    back = scored(from_logits.labels, probabilities=from_logits.probabilities)
    np.testing.assert_allclose(back.logits[1:-1], logits[1:-1], rtol=1e-3)
    np.testing.assert_allclose(back.probabilities, from_logits.probabilities)


def test_the_sigmoid_neither_overflows_nor_loses_small_probabilities() -> None:
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            sigmoid(np.array([-1e4, -50.0, 0.0, 1e4])), [0.0, np.exp(-50.0), 0.5, 1.0], rtol=1e-12
        )


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "a", "b", "c"],
        np.array(["b", "a", "b", 7], dtype=object),
        np.array([2**62, -(2**62), 2**62, 5]),
        np.array([2**64 - 1, 2**64 - 3, 2**64 - 1, 2**64 - 2], np.uint64),
        np.array([7, 5, 7, 6], np.int8),
        [True, False, True, False],
    ],
    ids=["text", "mixed", "far apart", "unsigned", "int8", "bool"],
)
def test_groups_of_any_kind_keep_what_is_equal(groups: Any) -> None:
    codes = scored([0, 1, 0, 1], logits=np.zeros(4), groups=groups).groups
    assert codes is not None and codes.min() >= 0 and codes.max() < 2**31
    given = np.asarray(groups)
    np.testing.assert_array_equal(codes[:, None] == codes[None], given[:, None] == given[None])
