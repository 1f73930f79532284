"""AUC against the definition: every pair, counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clicksmith.errors import DataError
from clicksmith.evaluate.auc import auc, auc_influence, auc_of, placements
from clicksmith.evaluate.scored import scored


def auc_by_pairs(labels: NDArray, scores: NDArray, weights: NDArray) -> float:
    won = total = 0.0
    for i in np.flatnonzero(labels):
        for j in np.flatnonzero(~labels):
            won += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
            total += weights[i] * weights[j]
    return won / total


@st.composite
def rows(draw: st.DrawFn, width: int = 32) -> tuple[NDArray, NDArray, NDArray]:
    n = draw(st.integers(2, 25))
    labels = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    labels[:2] = [True, False]
    few = st.sampled_from([-1.5, -0.0, 0.0, 1e-30, 0.25, 7.0])
    value = st.one_of(few, st.floats(-1e6, 1e6, width=width))
    scores = np.array(draw(st.lists(value, min_size=n, max_size=n)), np.float32 if width == 32 else np.float64)
    weights = np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=n, max_size=n)))
    return labels, scores, weights


@given(rows(32))
@settings(max_examples=60, deadline=None)
def test_auc_of_float32_scores_is_the_share_of_pairs_won(drawn: tuple[NDArray, NDArray, NDArray]) -> None:
    labels, scores, weights = drawn
    assert auc(labels, scores) == pytest.approx(auc_by_pairs(labels, scores, np.ones(len(labels))), abs=1e-12)
    assert auc(labels, scores, weights) == pytest.approx(auc_by_pairs(labels, scores, weights), abs=1e-12)


@given(rows(64))
@settings(max_examples=60, deadline=None)
def test_auc_of_float64_scores_is_the_share_of_pairs_won(drawn: tuple[NDArray, NDArray, NDArray]) -> None:
    labels, scores, weights = drawn
    assert auc(labels, scores) == pytest.approx(auc_by_pairs(labels, scores, np.ones(len(labels))), abs=1e-12)
    assert auc(labels, scores, weights) == pytest.approx(auc_by_pairs(labels, scores, weights), abs=1e-12)


def test_auc_distinguishes_doubles_that_are_equal_as_floats() -> None:
    assert auc([0, 1], np.array([1.0, 1.0 + 1e-12])) == 1.0
    assert auc([0, 1], np.array([1.0, 1.0 + 1e-12], np.float32)) == 0.5


def test_a_constant_score_gives_one_half_and_reversed_scores_the_complement() -> None:
    labels, scores = np.array([1, 0, 0, 1, 0]), np.array([0.3, 0.1, 0.7, 0.3, 0.2], np.float32)
    assert auc(labels, np.zeros(5)) == 0.5
    assert auc(labels, scores) + auc(labels, -scores) == pytest.approx(1.0)


def test_weights_act_as_repetitions() -> None:
    random = np.random.default_rng(1)
    labels, scores, times = random.random(60) < 0.4, random.integers(0, 9, 60) / 4, random.integers(1, 4, 60)
    repeated = auc(np.repeat(labels, times), np.repeat(scores, times))
    assert auc(labels, scores, times) == pytest.approx(repeated, abs=1e-12)


def test_the_influences_average_to_the_value_and_sum_to_zero() -> None:
    random = np.random.default_rng(2)
    labels, scores = random.random(500) < 0.3, random.integers(0, 50, 500).astype(np.float32)
    value = scored(labels, logits=scores)
    measured = auc_influence(value)
    assert measured.value == pytest.approx(auc_of(value), abs=1e-12)
    assert abs(measured.influence.sum()) < 1e-12
    assert placements(value)[labels].mean() == pytest.approx(placements(value)[~labels].mean(), abs=1e-12)


def test_delong_variance_equals_the_covariance_of_the_definition() -> None:
    random = np.random.default_rng(3)
    labels, scores = random.random(80) < 0.4, random.integers(0, 12, 80).astype(np.float32)
    up, down = scores[labels], scores[~labels]
    wins = (up[:, None] > down[None]) + 0.5 * (up[:, None] == down[None])
    expected = np.var(wins.mean(1), ddof=1) / up.size + np.var(wins.mean(0), ddof=1) / down.size
    assert auc_influence(scored(labels, logits=scores)).error() ** 2 == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_is_refused(label: int) -> None:
    with pytest.raises(DataError) as error:
        auc([label, label, label], [0.1, 0.2, 0.3])
    assert str(error.value) == (
        f"all 3 labels are {label}; 'auc' needs rows of both classes. Evaluate on more rows, or check the label column."
    )
