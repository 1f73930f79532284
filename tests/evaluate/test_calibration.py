"""Calibration measures on rows whose calibration is known."""

import numpy as np
import pytest

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.calibration import expected_calibration_error, ratio_influence, reliability
from clicksmith.evaluate.scored import scored


def honest(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from their predicted probabilities."""
    random = np.random.default_rng(seed)
    p = random.beta(1, 8, n)
    return random.random(n) < p, p


def test_calibration_error_equals_the_loop_over_bins() -> None:
    labels, p = honest(5000)
    expected = 0.0
    for low in np.arange(10) / 10:
        mine = (p >= low) & (p < low + 0.1)
        if mine.any():
            expected += mine.mean() * abs(p[mine].mean() - labels[mine].mean())
    assert expected_calibration_error(scored(labels, probabilities=p)) == pytest.approx(expected, abs=1e-12)


def test_honest_predictions_lie_in_the_intervals_of_the_curve() -> None:
    labels, p = honest(200_000)
    bins = reliability(scored(labels, probabilities=p), bins=20)
    assert len(bins) == 20 and all(abs(b.rows - 10_000) <= 1 for b in bins)
    assert sum(b.low <= b.predicted <= b.high for b in bins) >= 17
    doubled = reliability(scored(labels, probabilities=np.minimum(2 * p, 1)), bins=20)
    assert sum(b.low <= b.predicted <= b.high for b in doubled) == 0


def test_equal_mass_keeps_equal_predictions_together() -> None:
    rows = scored([0, 1, 0, 1, 1, 0], probabilities=[0.2, 0.2, 0.2, 0.2, 0.2, 0.9])
    for binning in ("mass", "width"):
        (whole,) = reliability(rows, bins=1, binning=binning)  # type: ignore[arg-type]
        assert (whole.rows, whole.observed) == (6, 0.5)
    assert [(b.rows, round(b.predicted, 9), b.observed) for b in reliability(rows, bins=3)] == [
        (5, 0.2, 0.6),
        (1, 0.9, 0.0),
    ]


def test_predicted_over_observed_says_how_many_times_too_many() -> None:
    labels, p = honest(100_000)
    measured = ratio_influence(scored(labels, probabilities=p))
    assert abs(measured.value - 1) < 4 * measured.error() < 0.1
    assert ratio_influence(scored(labels, probabilities=p / 2)).value == pytest.approx(measured.value / 2)
    with pytest.raises(DataError) as error:
        ratio_influence(scored([0, 0], logits=[0.0, 0.0]))
    assert str(error.value) == (
        "none of the 2 rows is a click, so 'predicted_over_observed' is not defined; evaluate on more rows."
    )


def test_weights_count_in_every_bin() -> None:
    labels, p = honest(400)
    times = np.random.default_rng(1).integers(1, 4, 400)
    rows, repeated = scored(labels, probabilities=p, weights=times), np.repeat(np.arange(400), times)
    expected = expected_calibration_error(scored(labels[repeated], probabilities=p[repeated]))
    assert expected_calibration_error(rows) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(UsageError, match=r"^bins=0: a calibration curve needs at least one bin.$"):
        reliability(rows, bins=0)
