"""Calibration: do rows predicted at 3 % click 3 times in 100?"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.interval import Influence, wilson_bands
from clicksmith.evaluate.logloss import mean_of
from clicksmith.evaluate.scored import Floats, Scored

Binning = Literal["width", "mass"]


class Bin(msgspec.Struct, frozen=True):
    """Rows of similar prediction, one point of the reliability curve."""

    rows: int
    weight: float
    predicted: float
    """Mean probability."""
    observed: float
    """Share of clicks."""
    low: float
    high: float
    """Wilson's interval of `observed`."""


def reliability(rows: Scored, bins: int = 10, binning: Binning = "mass", level: float = 0.95) -> tuple[Bin, ...]:
    """Return the reliability curve over bins of equal width or of equal mass; empty bins are left out.

    Rows of equal prediction are never parted, so `mass` may give fewer bins than asked for.
    """
    count, weight, predicted, observed = _bins(rows, bins, binning)
    effective = count if rows.weights is None else weight**2 / _sums(rows, bins, binning, rows.row_weights**2)
    low, high = wilson_bands(observed, effective, level)
    columns = (count, weight, predicted, observed, low, high)
    return tuple(Bin(int(n), *(float(x) for x in rest)) for n, *rest in zip(*columns, strict=True))


def expected_calibration_error(rows: Scored, bins: int = 10, binning: Binning = "width") -> float:
    """Return the mean distance of predicted and observed share over the bins, weighted by rows (Naeini, 2015)."""
    _, weight, predicted, observed = _bins(rows, bins, binning)
    return float(np.dot(weight, np.abs(predicted - observed)) / weight.sum())


def ratio_influence(rows: Scored) -> Influence:
    """Return predicted over observed clicks (PCOC): 1 is calibrated on average, above 1 predicts too many clicks."""
    clicks = mean_of(rows, rows.labels.astype(np.float64))
    if clicks.value == 0:
        raise DataError(
            f"none of the {len(rows)} rows is a click, so 'predicted_over_observed' is not defined; "
            "evaluate on more rows."
        )
    predicted = mean_of(rows, rows.probabilities)
    value = predicted.value / clicks.value
    return Influence(value, (predicted.influence - value * clicks.influence) / clicks.value)


def bin_numbers(probabilities: Floats, bins: int, binning: Binning) -> NDArray[np.int64]:
    """Return the bin of each row [n], from 0; numbers may be skipped."""
    if bins < 1:
        raise UsageError(f"bins={bins}: a calibration curve needs at least one bin.")
    if binning == "width":
        return np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    edges = np.quantile(probabilities, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.searchsorted(edges, probabilities, side="left")


def _bins(rows: Scored, bins: int, binning: Binning) -> tuple[Floats, Floats, Floats, Floats]:
    """Return count, weight, mean prediction and share of clicks of each bin with a positive weight."""
    number, w = bin_numbers(rows.probabilities, bins, binning), rows.row_weights
    weight = np.bincount(number, w, bins)
    full = weight > 0
    count = np.bincount(number, minlength=bins)[full].astype(np.float64)
    predicted = np.bincount(number, w * rows.probabilities, bins)[full] / weight[full]
    observed = np.bincount(number, w * rows.labels, bins)[full] / weight[full]
    return count, weight[full].astype(np.float64), predicted, np.minimum(observed, 1.0)


def _sums(rows: Scored, bins: int, binning: Binning, values: Floats) -> Floats:
    number = bin_numbers(rows.probabilities, bins, binning)
    return np.bincount(number, values, bins)[np.bincount(number, rows.row_weights, bins) > 0].astype(np.float64)
