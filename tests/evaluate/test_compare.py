"""Paired tests: noise is a tie, a planted difference is found."""

import numpy as np
import pytest

from clicksmith.errors import UsageError
from clicksmith.evaluate.compare import Comparison, Method, compare, compare_scored, relative_improvement
from clicksmith.evaluate.metrics import METRICS
from clicksmith.evaluate.scored import scored


def two_models(noise_a: float, noise_b: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Labels, two noisy views of the true logit, and users."""
    random = np.random.default_rng(seed)
    true = random.normal(-1, 1.5, n)
    labels = random.random(n) < 1 / (1 + np.exp(-true))
    return labels, *(true + random.normal(0, s, n) for s in (noise_a, noise_b)), random.integers(0, n // 20, n)


@pytest.mark.parametrize("metric", [n for n, m in METRICS.items() if m.influence and n != "hitrate@10"] + ["hitrate@1"])
@pytest.mark.parametrize("method", ["delta", "bootstrap"])
def test_a_planted_difference_is_found_and_points_the_right_way(metric: str, method: Method) -> None:
    labels, a, b, users = two_models(2.5, 0.1)
    found = compare(labels, a, b, metric=metric, groups=users, method=method, resamples=60)
    assert found.significant and found.p < 0.05 and found.b_is_better
    back = compare(labels, b, a, metric=metric, groups=users, method=method, resamples=60)
    assert back.effect == -found.effect and not back.b_is_better and back.significant


def test_two_seeds_of_the_same_noise_tie_about_nineteen_times_in_twenty() -> None:
    ties = 0
    for seed in range(100):
        labels, a, b, _ = two_models(0.8, 0.8, n=800, seed=seed)
        ties += not compare(labels, a, b).significant
    assert 89 <= ties <= 100


def test_the_p_values_of_a_tie_are_uniform() -> None:
    p = [compare(*two_models(0.8, 0.8, n=400, seed=s)[:3], metric="logloss").p for s in range(200)]
    assert np.abs(np.quantile(p, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.12


def test_the_paired_delong_test_equals_the_covariance_of_the_definition() -> None:
    labels, a, b, _ = two_models(0.5, 1.0, n=90)
    won = [(s[labels][:, None] > s[~labels][None]) + 0.5 * (s[labels][:, None] == s[~labels][None]) for s in (a, b)]
    up = np.cov([w.mean(1) for w in won]) / labels.sum() + np.cov([w.mean(0) for w in won]) / (~labels).sum()
    error = np.sqrt(up[0, 0] + up[1, 1] - 2 * up[0, 1])
    found = compare(labels, a, b)
    assert (found.high - found.low) / 2 / 1.959963985 == pytest.approx(error, rel=1e-9)


def test_pairing_sees_what_two_separate_intervals_cannot() -> None:
    labels, a, _, _ = two_models(0.3, 0.3, n=3000)
    found = compare(labels, a, a + 0.05 * labels)
    assert found.significant and found.effect < 0.02


def test_delta_and_bootstrap_agree() -> None:
    labels, a, b, users = two_models(0.8, 1.0, n=2000)
    for options in ({"metric": "auc"}, {"metric": "auc", "by_group": True}, {"metric": "gauc"}):
        one = compare(labels, a, b, groups=users, **options)  # type: ignore[arg-type]
        two = compare(labels, a, b, groups=users, method="bootstrap", resamples=300, **options)  # type: ignore[arg-type]
        assert one.effect == two.effect
        assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.25)


def test_relative_improvement_is_the_papers() -> None:
    assert relative_improvement(0.8698, 0.8624) == pytest.approx(2.04, abs=0.005)
    labels, a, b, _ = two_models(1.0, 0.5)
    found = compare(labels, a, b)
    assert found.relative_improvement == pytest.approx(((found.b - 0.5) / (found.a - 0.5) - 1) * 100)
    with pytest.raises(UsageError, match=r"^RelaImpr is not defined against a reference of exactly 0\.5"):
        relative_improvement(0.8, 0.5)


def test_the_sentence_says_who_is_better() -> None:
    found = Comparison("auc", 0.7, 0.71, 0.01, 0.004, 0.016, 0.001, 0.95, "delta", 500, True, 5.0)
    assert str(found) == (
        "auc: a 0.70000, b 0.71000, difference +0.01000 [+0.00400, +0.01600], p = 0.001: b is better on 500 rows"
    )


def test_other_rows_are_refused() -> None:
    one, two = scored([0, 1, 1], logits=np.zeros(3)), scored([0, 1, 0], logits=np.zeros(3))
    with pytest.raises(UsageError) as error:
        compare_scored(one, two)
    assert str(error.value) == (
        "the two predictions are not of the same rows (3 and 3 rows, labels differ); "
        "a paired test needs the same rows in the same order."
    )
    with pytest.raises(UsageError, match=r"^'ece' has no analytic interval; pass method='bootstrap'.$"):
        compare_scored(one, one, metric="ece")
    for options, message in (
        ({"method": "bootstap"}, r"^method='bootstap': choose delta or bootstrap\.$"),
        ({"scale": "probs"}, r"^scale='probs': choose logits or probabilities\.$"),
        ({"level": 95, "method": "bootstrap"}, r"^level=95 is not a probability between 0 and 1; pass level=0\.95"),
    ):
        with pytest.raises(UsageError, match=message):
            compare([0, 1, 1], np.zeros(3), np.ones(3), **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^by_group=True needs groups and none were given; pass groups=.$"):
        compare_scored(one, one, by_group=True)


def test_of_a_single_click_nothing_can_be_tested() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=100), random.normal(size=100)
    for labels, lone in ((np.arange(100) < 1, "click"), (np.arange(100) > 0, "non-click")):
        with pytest.raises(UsageError) as error:
            compare(labels, a, b)
        assert str(error.value) == (
            f"'auc' rests on a single {lone} of 100 rows, so its difference cannot be tested; "
            "two clicks and two non-clicks are needed at least. Compare on more rows."
        )
    for options in ({"metric": "gauc"}, {"by_group": True}):
        with pytest.raises(UsageError, match=r"^'\w+' rests on a single group, so its difference cannot be tested;"):
            compare(np.arange(100) < 9, a, b, groups=np.zeros(100), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["delta", "bootstrap"])
def test_two_equally_far_from_1_tie_and_the_nearer_one_wins(method: Method) -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(0.02, 0.3, 20_000)
    labels = random.random(20_000) < truth
    fit = labels.sum() / truth.sum()

    def found(a: float, b: float) -> Comparison:
        return compare(
            labels, a * fit * truth, b * fit * truth, metric="predicted_over_observed", scale="probabilities",
            method=method, resamples=100,
        )  # fmt: skip

    tie = found(0.8, 1.2)
    assert abs(tie.effect) < 1e-9 and tie.p > 0.5 and not tie.significant
    better, worse = found(0.8, 1.05), found(1.05, 0.8)
    assert better.effect == pytest.approx(0.15) and better.significant and better.b_is_better
    assert worse.effect == -better.effect and worse.significant and not worse.b_is_better
    assert "b nearer to 1 by +0.15000 [" in str(better) and ": b is better on 20000 rows" in str(better)


def test_other_weights_or_groups_are_refused_and_other_numbers_of_the_same_groups_are_not() -> None:
    labels, a, b, users = two_models(0.5, 1.0, n=200)
    one, weights = scored(labels, logits=a, groups=users), np.ones(200)
    renamed = scored(labels, logits=b, groups=[f"user {99 - u}" for u in users])
    assert compare_scored(one, renamed, metric="gauc") == compare(labels, a, b, groups=users, metric="gauc")
    for other, what in (
        (scored(labels, logits=b, groups=users % 3), "groups"),
        (scored(labels, logits=b), "groups"),
        (scored(labels, logits=b, groups=users, weights=weights), "weights"),
    ):
        with pytest.raises(UsageError) as error:
            compare_scored(one, other, metric="gauc")
        assert str(error.value) == (
            f"the {what} of the two predictions differ; a paired test needs the same rows, weighted and grouped "
            "alike. Fit both models with the same schema."
        )


def test_a_model_ties_with_itself() -> None:
    labels, a, _, _ = two_models(0.5, 0.5, n=200)
    found = compare(labels, a, a)
    assert (found.effect, found.p, found.b_is_better, found.significant) == (0.0, 1.0, False, False)
    assert str(found).endswith(": a tie on 200 rows")
