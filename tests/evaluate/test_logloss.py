"""Log-loss, normalised entropy and Brier score against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from clicksmith.errors import DataError
from clicksmith.evaluate.logloss import brier_influence, entropy_influence, logloss, logloss_influence
from clicksmith.evaluate.scored import scored


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_log_loss_and_brier_equal_the_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, p, weights = random.random(40) < 0.5, random.random(40), random.random(40)
    labels[:2] = [True, False]
    assert logloss(labels, probabilities=p) == pytest.approx(log_loss(labels, p), rel=1e-9)
    assert logloss(labels, probabilities=p, weights=weights) == pytest.approx(
        log_loss(labels, p, sample_weight=weights)
    )
    assert logloss(labels, logits=np.log(p / (1 - p))) == pytest.approx(log_loss(labels, p), rel=1e-9)
    rows = scored(labels, probabilities=p, weights=weights)
    assert brier_influence(rows).value == pytest.approx(brier_score_loss(labels, p, sample_weight=weights))


def test_log_loss_of_huge_logits_is_finite_and_exact() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert logloss([1, 0, 1, 0], logits=[800.0, -800.0, -800.0, 800.0]) == 400.0


def test_a_certain_and_wrong_probability_costs_much_and_not_infinity() -> None:
    single = logloss([1, 0], probabilities=np.array([0.0, 0.0], np.float32))
    assert 7 < single < 9  # half of -log(2^-23)
    assert logloss([0, 1], probabilities=np.array([1.0, 1.0], np.float32)) == pytest.approx(single, rel=1e-6)


def test_the_click_rate_for_every_row_has_normalised_entropy_one() -> None:
    labels = np.arange(1000) % 7 == 0
    rows = scored(labels, probabilities=np.full(1000, labels.mean()))
    assert entropy_influence(rows).value == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(DataError, match=r"all 3 labels are 1; 'normalised_entropy' needs rows of both classes"):
        entropy_influence(scored([1, 1, 1], logits=[0.0, 0.0, 0.0]))


def test_the_error_of_a_mean_is_the_textbook_one() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.random(200) < 0.5, random.normal(size=200)
    losses = np.log1p(np.exp(np.where(labels, -logits, logits)))
    measured = logloss_influence(scored(labels, logits=logits))
    assert measured.error() == pytest.approx(losses.std(ddof=1) / np.sqrt(200), rel=1e-12)
