"""GAUC against a loop over groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.errors import DataError
from clicksmith.evaluate.auc import auc
from clicksmith.evaluate.gauc import By, gauc, gauc_influence
from clicksmith.evaluate.metrics import measure
from clicksmith.evaluate.scored import scored


def gauc_by_loop(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, by: str, weights: np.ndarray) -> tuple:
    each, weight, dropped, dropped_rows = [], [], 0, 0
    for group in np.unique(groups):
        mine = groups == group
        if labels[mine].all() or not labels[mine].any():
            dropped, dropped_rows = dropped + 1, dropped_rows + mine.sum()
            continue
        each.append(auc(labels[mine], scores[mine], weights[mine]))
        weight.append(weights[mine & labels].sum() if by == "clicks" else weights[mine].sum())
    return np.average(each, weights=weight), len(each), dropped, dropped_rows


@given(st.integers(0, 2**32 - 1), st.sampled_from(["impressions", "clicks"]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_gauc_equals_the_loop_over_groups(seed: int, by: By, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    n = 120
    labels, groups = random.random(n) < 0.4, random.integers(-9, 9, n)
    scores = random.integers(-5, 5, n).astype(random.choice([np.float32, np.float64]))
    weights = random.integers(1, 4, n).astype(float) if weighted else np.ones(n)
    got = gauc(labels, scores, groups, by=by, weights=weights if weighted else None)
    value, used, dropped, dropped_rows = gauc_by_loop(labels, scores, groups, by, weights)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert (got.groups, got.dropped, got.dropped_rows, got.rows) == (used, dropped, dropped_rows, n - dropped_rows)


def test_one_group_gives_the_auc() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.random(300) < 0.2, random.normal(size=300)
    assert gauc(labels, scores, np.zeros(300, int)).value == pytest.approx(auc(labels, scores), abs=1e-15)


def test_one_click_and_one_non_click_a_user_give_the_pairwise_accuracy() -> None:
    random = np.random.default_rng(1)
    up, down = random.integers(0, 4, 200), random.integers(0, 4, 200)
    got = gauc(np.repeat([1, 0], 200), np.append(up, down), np.tile(np.arange(200), 2))
    assert got.value == pytest.approx(np.mean((up > down) + 0.5 * (up == down)), abs=1e-12)


def test_a_monotone_map_within_each_user_changes_nothing() -> None:
    random = np.random.default_rng(2)
    labels, groups, scores = random.random(400) < 0.5, random.integers(0, 20, 400), random.normal(size=400)
    moved = np.exp(scores) * (1 + groups) - 7 * groups
    assert gauc(labels, moved, groups).value == pytest.approx(gauc(labels, scores, groups).value, abs=1e-12)


def test_the_interval_of_gauc_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered, truth = 0, 0.7602499  # P(N(1, 2) > 0): clicks N(1, 1), others N(0, 1)
    for _ in range(200):
        labels = np.tile([1, 0, 0, 0], 150)
        scores = random.normal(size=600) + labels
        measured = gauc_influence(scored(labels, logits=scores, groups=np.repeat(np.arange(150), 4)))
        covered += abs(measured.value - truth) < 1.96 * measured.error()
    assert 175 <= covered <= 200


def test_groups_are_needed_and_at_least_one_must_have_both_classes() -> None:
    with pytest.raises(DataError) as error:
        measure(scored([0, 1], logits=[0.0, 1.0]), ["gauc"])
    assert str(error.value) == (
        "'gauc' needs groups and none were given; pass groups= or declare group= in the schema."
    )
    with pytest.raises(DataError) as error:
        gauc([0, 1, 1], [0.1, 0.2, 0.3], ["a", "b", "b"])
    assert str(error.value) == (
        "none of the 2 groups has both a click and a non-click, so 'gauc' and 'gauc_by_clicks' are not defined; "
        "choose a coarser group column."
    )
