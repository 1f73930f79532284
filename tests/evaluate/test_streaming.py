"""Metrics gathered in batches equal the metrics of the whole."""

import numpy as np
import pytest

from clicksmith.errors import DataError
from clicksmith.evaluate.calibration import expected_calibration_error, reliability
from clicksmith.evaluate.metrics import measure
from clicksmith.evaluate.scored import scored
from clicksmith.evaluate.streaming import RunningMetrics


@pytest.mark.parametrize("weighted", [False, True])
def test_batches_and_merged_parts_equal_the_whole(weighted: bool) -> None:
    random = np.random.default_rng(0)
    labels, logits = random.random(1000) < 0.3, random.normal(size=1000)
    weights = random.integers(1, 5, 1000).astype(float) if weighted else None
    parts = [RunningMetrics(bins=10), RunningMetrics(bins=10)]
    for i, a in enumerate(range(0, 1000, 130)):
        rows = slice(a, a + 130)
        parts[i % 2].update(labels[rows], logits=logits[rows], weights=None if weights is None else weights[rows])
    parts[0].merge(parts[1])
    whole = scored(labels, logits=logits, weights=weights)
    expected = measure(whole, ["logloss", "brier", "normalised_entropy", "predicted_over_observed"])
    assert parts[0].values() == pytest.approx({**expected, "ece": expected_calibration_error(whole)})
    curve, reference = parts[0].reliability(), reliability(whole, 10, "width")
    for name in ("weight", "predicted", "observed", "low", "high"):
        np.testing.assert_allclose([getattr(b, name) for b in curve], [getattr(b, name) for b in reference], rtol=1e-9)


def test_what_is_not_defined_is_absent() -> None:
    running = RunningMetrics()
    with pytest.raises(DataError, match=r"^no rows were added, so there are no metrics; call update\(\) first.$"):
        running.values()
    running.update([0, 0], logits=[0.0, 1.0])
    assert set(running.values()) == {"logloss", "brier", "ece"}
    with pytest.raises(DataError, match=r"^sums over 100 and 5 bins cannot be merged; use one number of bins.$"):
        running.merge(RunningMetrics(bins=5))
