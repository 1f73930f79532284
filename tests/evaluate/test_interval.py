"""Intervals: analytic against the bootstrap, and how often they cover the truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.auc import auc_influence, auc_of
from clicksmith.evaluate.bootstrap import bootstrap
from clicksmith.evaluate.evaluation import estimate
from clicksmith.evaluate.interval import Influence, interval, two_sided_p, wilson
from clicksmith.evaluate.metrics import METRICS, metric_named
from clicksmith.evaluate.scored import Scored, scored

ANALYTIC = [name for name, metric in METRICS.items() if metric.influence]


def simulated(n: int, seed: int, users: int = 0) -> Scored:
    """Normal scores; with users, rows of one user share a part of score and label."""
    random = np.random.default_rng(seed)
    user = random.integers(0, users, n) if users else np.arange(n)
    taste = random.normal(size=users)[user] if users else np.zeros(n)
    logit = random.normal(-1, 1, n) + 1.5 * taste
    labels = random.random(n) < 1 / (1 + np.exp(-logit))
    return scored(labels, logits=logit - 0.5 * taste, groups=user)


@pytest.mark.parametrize("name", ANALYTIC)
def test_the_analytic_error_agrees_with_the_bootstrap(name: str) -> None:
    rows, metric = simulated(1500, 0, users=60), metric_named(name)
    assert metric.influence is not None
    drawn = bootstrap(metric.value, rows, by_group=metric.needs_groups, resamples=200, seed=1)
    assert drawn.error is not None
    assert metric.influence(rows).error() == pytest.approx(drawn.error, rel=0.25)
    assert metric.influence(rows).value == pytest.approx(metric.value(rows), abs=1e-12)


def test_rows_of_one_user_widen_the_interval_as_the_grouped_bootstrap_says() -> None:
    rows = simulated(3000, 1, users=50)
    by_row, by_user = auc_influence(rows).error(), auc_influence(rows).error(rows.groups)
    drawn = bootstrap(auc_of, rows, by_group=True, resamples=200).error
    assert by_user > 1.5 * by_row
    assert by_user == pytest.approx(drawn, rel=0.25)


def test_the_interval_of_auc_covers_the_truth_as_often_as_it_says() -> None:
    random, truth, covered = np.random.default_rng(5), 0.7602499, 0  # P(N(1, 2) > 0)
    for _ in range(300):
        labels = np.arange(120) < 40
        found = interval(auc_influence(scored(labels, logits=random.normal(size=120) + labels)), 0.95, "share")
        covered += found.low <= truth <= found.high  # type: ignore[operator]
    assert 272 <= covered <= 298


def test_a_perfect_auc_still_has_a_width() -> None:
    found = estimate(scored(np.arange(20) > 9, logits=np.arange(20.0)), METRICS["auc"])
    assert found.value == 1.0 == found.high
    assert found.low == wilson(1.0, 10, 0.95)[0]  # ten clicks, ten others
    assert found.method == "Wilson, because the estimate does not vary"


@pytest.mark.parametrize("clicks", [3, 17])
def test_a_perfect_auc_is_as_certain_as_its_rarer_class_allows(clicks: int) -> None:
    found = estimate(scored(np.arange(20) >= 20 - clicks, logits=np.arange(20.0)), METRICS["auc"])
    assert found.low == wilson(1.0, 3, 0.95)[0]


def test_one_unit_has_no_interval() -> None:
    found = estimate(scored([0, 1, 1], logits=[0.0, 1.0, -1.0], groups=[4, 4, 4]), METRICS["gauc"])
    assert (found.low, found.high, found.method) == (None, None, "no interval: a single independent unit")


@pytest.mark.parametrize(("lone", "clicks"), [("click", 1), ("non-click", 99)])
def test_of_a_single_click_or_non_click_auc_has_no_interval(lone: str, clicks: int) -> None:
    logits = np.random.default_rng(0).normal(size=100)
    weights = np.append(np.ones(100), 0.0)  # a second one without weight is none
    rows = scored(np.append(np.arange(100) < clicks, clicks == 1), logits=np.append(logits, 0.0), weights=weights)
    for by_group in (False, True):
        found = estimate(replace(rows, groups=np.arange(101) // 2), METRICS["auc"], by_group=by_group)
        assert (found.low, found.high, found.error) == (None, None, None)
        assert found.method == f"no interval: a single {lone}"


def test_a_perfect_auc_of_few_groups_is_as_certain_as_they_allow() -> None:
    rows = scored(np.arange(400) > 199, logits=np.arange(400.0), groups=np.arange(400) % 4)
    assert estimate(rows, METRICS["auc"], by_group=True).low == wilson(1.0, 4, 0.95)[0]
    assert estimate(rows, METRICS["auc"]).low == wilson(1.0, 200, 0.95)[0]


@pytest.mark.parametrize(("clicks", "rows"), [(0, 10), (3, 17), (40, 40)])
def test_wilson_equals_the_reference(clicks: int, rows: int) -> None:
    expected = binomtest(clicks, rows).proportion_ci(method="wilson")
    assert wilson(clicks / rows, rows, 0.95) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_positive_metrics_never_reach_below_zero() -> None:
    found = interval(Influence(0.01, np.array([0.02, -0.02])), 0.95, "positive")
    assert found.low is not None and 0 < found.low < 0.01


def test_a_group_drawn_twice_counts_as_two_groups() -> None:
    rows = scored([0, 1, 0, 1], logits=[0.0, 1.0, 1.0, 0.0], groups=[0, 0, 1, 1])
    drawn = bootstrap(METRICS["gauc"].value, rows, by_group=True, resamples=300)
    assert drawn.value == 0.5 and (drawn.low, drawn.high) == (0.0, 1.0)


def test_the_bootstrap_repeats_with_its_seed_and_says_when_it_cannot_work() -> None:
    rows = simulated(200, 2)
    assert bootstrap(auc_of, rows, resamples=20, seed=3) == bootstrap(auc_of, rows, resamples=20, seed=3)
    with pytest.raises(UsageError, match=r"^resamples=0: the bootstrap needs at least one resample.$"):
        bootstrap(auc_of, rows, resamples=0)
    with pytest.raises(UsageError, match=r"^level=95 is not a probability between 0 and 1; pass level=0.95"):
        bootstrap(auc_of, rows, level=95)
    with pytest.raises(DataError, match=r"'bootstrap by group' needs groups"):
        bootstrap(auc_of, scored([0, 1], logits=[0.0, 1.0]), by_group=True)
    with pytest.raises(DataError, match=r"all 2 labels are 1"):
        bootstrap(auc_of, scored([1, 1], logits=[0.0, 1.0]), resamples=2)


def test_p_values_of_no_error() -> None:
    assert two_sided_p(0.0, 0.0) == 1.0 and two_sided_p(0.1, 0.0) == 0.0
    assert two_sided_p(1.96, 1.0) == pytest.approx(0.05, abs=1e-3)


def test_groups_far_apart_take_no_memory() -> None:
    rows = scored([0, 1, 0, 1], logits=[0.0, 1.0, 2.0, 3.0], groups=np.array([0, 0, 2_000_000_000, 2_000_000_000]))
    assert rows.groups is not None and rows.groups.tolist() == [0, 0, 1, 1]
