"""Post-hoc calibration: a map from logit to logit, fitted on validation rows, kept in the artefact as plain JSON."""

from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.evaluate.scored import Floats, Scored, require_both_classes, sigmoid


class Platt(msgspec.Struct, frozen=True, tag="platt", tag_field="kind", forbid_unknown_fields=True):
    """logit -> slope * logit + intercept (Platt, 1999). With intercept 0 it is temperature 1 / slope."""

    slope: float = 1.0
    intercept: float = 0.0
    held: bool = False
    """No rising slope fitted, so that a small one was held: order stays, and predictions lie close to the mean."""

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the calibrated logits."""
        return self.slope * np.asarray(logits, np.float64) + self.intercept


class Isotonic(msgspec.Struct, frozen=True, tag="isotonic", tag_field="kind", forbid_unknown_fields=True):
    """logit -> logit of a rising curve through `points`, fitted by pooling adjacent violators.

    Between points probabilities are interpolated, outside they are constant; `floor` and 1 - `floor` bound them, so
    that no logit is infinite.
    """

    points: tuple[float, ...]
    """Logits, rising."""
    values: tuple[float, ...]
    """Probabilities, rising."""
    floor: float

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the calibrated logits."""
        curve = np.interp(np.asarray(logits, np.float64), self.points, self.values)
        p = np.clip(curve, self.floor, 1 - self.floor)
        return np.log(p) - np.log1p(-p)


class Shift(msgspec.Struct, frozen=True, tag="shift", tag_field="kind", forbid_unknown_fields=True):
    """logit -> logit + shift."""

    shift: float

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the shifted logits."""
        return np.asarray(logits, np.float64) + self.shift


Step = Platt | Isotonic | Shift

FLAT = 0.01
"""How far, as a standard deviation of logits, a held slope spreads predictions around their mean."""

FAR = 100.0
"""Beyond so many standard deviations, and so many logits, a logit says no more to Platt's fit than there."""


class Calibrator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps applied one after another; none leaves the logits as they are."""

    steps: tuple[Step, ...] = ()

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the calibrated logits, in float64."""
        values = np.asarray(logits, np.float64)
        for step in self.steps:
            values = step.apply(values)
        return values

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return the calibrated probabilities."""
        return sigmoid(self.apply(logits))

    def then(self, step: Step) -> "Calibrator":
        """Return a calibrator with one more step."""
        return Calibrator((*self.steps, step))

    def to_json(self) -> bytes:
        """Return the calibrator as JSON."""
        return msgspec.json.encode(self)

    @staticmethod
    def from_json(content: bytes) -> "Calibrator":
        """Read what `to_json` wrote; raises ArtifactError if it is damaged."""
        try:
            return msgspec.json.decode(content, type=Calibrator)
        except msgspec.DecodeError as error:
            raise ArtifactError(f"the calibrator cannot be read: {error}; fit it again.") from error


def fit_calibrator(rows: Scored, method: Literal["platt", "temperature", "isotonic"] = "platt") -> Calibrator:
    """Fit a calibrator on validation rows (never on rows the model was trained on)."""
    require_both_classes(rows, "calibration")
    if method == "isotonic":
        return Calibrator((fit_isotonic(rows),))
    if method not in ("platt", "temperature"):
        raise UsageError(f"no calibration method '{method}'; choose platt, temperature or isotonic.")
    return Calibrator((fit_platt(rows, with_intercept=method == "platt"),))


def negative_sampling(rate: float) -> Shift:
    """Return the correction for a model trained on all clicks and a share `rate` of the non-clicks: log(rate).

    Dropping non-clicks multiplies the odds by 1 / rate, which this undoes: p = q / (q + (1 - q) / rate).
    """
    if not 0 < rate <= 1:
        raise UsageError(f"rate={rate}: the share of non-clicks kept lies above 0 and is at most 1.")
    return Shift(float(np.log(rate)))


def fit_platt(rows: Scored, *, with_intercept: bool = True) -> Platt:
    """Minimise the log-loss of slope * logit + intercept.

    Targets are Platt's (n + 1) / (n + 2) in place of 1 and 0, which keeps separable rows finite. Where predictions do
    not rise with clicks the best rising slope is next to none: it is held at one that spreads the logits by `FLAT`,
    and the intercept alone is fitted, which puts the mean right. Raises DataError in that case without intercept.
    """
    w = _weights(rows)
    up, down = float(w[rows.labels].sum()), float(w[~rows.labels].sum())
    target = np.where(rows.labels, (up + 1) / (up + 2), 1 / (down + 2))
    centre, spread = _centre_and_spread(rows.logits[w > 0])
    if not with_intercept:
        x = _bounded(rows.logits, centre, spread)
        slope = float(_fit(x[None] / spread, target, w)[0]) / spread
        if slope <= 0:
            raise DataError(
                f"the fitted slope is {slope:.3g}: no temperature mends predictions that do not rise with clicks "
                f"on these {len(rows)} rows. Check that labels and predictions are of the same rows, or use 'platt'."
            )
        return Platt(slope)
    x = (_bounded(rows.logits, centre, spread) - centre) / spread
    slope, intercept = _fit(np.stack([x, np.ones_like(x)]), target, w).tolist()
    if slope > 0:
        return Platt(slope / spread, intercept - slope / spread * centre)
    flat = FLAT / max(1.0, spread)
    (mean,) = _fit(np.ones((1, x.size)), target, w, beside=flat * (rows.logits - centre)).tolist()
    return Platt(flat, mean - flat * centre, held=True)


def _centre_and_spread(logits: Floats) -> tuple[float, float]:
    """Return the median, and the distance of the outer percentiles in the unit of a standard deviation.

    One diverged prediction moves neither. The spread is never 0: where nearly all logits are equal it is the standard
    deviation, where all are it is 1.
    """
    low, centre, high = np.quantile(logits, [0.01, 0.5, 0.99]).tolist()
    normal = 2 * NormalDist().inv_cdf(0.99)
    return centre, (high - low) / normal or float(np.std(logits)) or 1.0


def _bounded(logits: Floats, centre: float, spread: float) -> Floats:
    """Return the logits, none further from the centre than `FAR`: the fit reads a diverged one as that far."""
    far = max(FAR * spread, FAR)  # where most logits are nearly equal the few others are no less right
    return np.clip(logits, centre - far, centre + far)


def fit_isotonic(rows: Scored) -> Isotonic:
    """Fit the rising curve that is nearest to the labels."""
    weights = _weights(rows)
    order = np.argsort(rows.logits)
    x, w = rows.logits[order], weights[order]
    y = w * rows.labels[order]
    first = np.flatnonzero(np.append(True, x[1:] != x[:-1]))  # equal logits get one value
    weight, clicks = np.add.reduceat(w, first), np.add.reduceat(y, first)
    x, weight, clicks = x[first][weight > 0], weight[weight > 0], clicks[weight > 0]
    start, value = pool_adjacent_violators(weight, clicks)
    end = np.append(start[1:], x.size) - 1
    points = np.stack([x[start], x[end]], axis=1).ravel()
    kept = np.append(True, points[1:] != points[:-1])
    values = np.repeat(value, 2)[kept]
    return Isotonic(tuple(points[kept].tolist()), tuple(values.tolist()), 1 / (float(weights.sum()) + 2))


def _weights(rows: Scored) -> Floats:
    """Return the weights with the effective number of rows as their sum (Kish, 1965), so that their unit is nothing."""
    w = rows.row_weights
    return w * (w.sum() / np.dot(w, w))


def pool_adjacent_violators(weight: Floats, total: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return where each block begins and its mean, rising. Whole falling runs are pooled at once, so nothing loops."""
    start = np.arange(weight.size)
    while True:
        mean = total / weight
        begins = np.append(True, mean[1:] > mean[:-1])
        if begins.all():
            return start, mean
        first = np.flatnonzero(begins)
        weight, total, start = np.add.reduceat(weight, first), np.add.reduceat(total, first), start[first]


def _fit(columns: Floats, target: Floats, weights: Floats, beside: Floats | float = 0.0) -> Floats:
    """Minimise the log-loss of values @ columns + beside by Newton's method with step halving, from zeros.

    At zeros no prediction is certain, so that the first step sees the curvature of every row.
    """
    values = np.zeros(len(columns))
    loss = _cross_entropy(values @ columns + beside, target, weights)
    for _ in range(100):
        p = sigmoid(values @ columns + beside)
        gradient = columns @ (weights * (p - target))
        curvature = (columns * (weights * p * (1 - p))) @ columns.T + 1e-9 * weights.sum() * np.eye(len(columns))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (
            new := _cross_entropy((values - size * step) @ columns + beside, target, weights)
        ) > loss and size > 1e-10:
            size /= 2
        improved = loss - new
        if improved <= 0:
            break
        values, loss = values - size * step, new
        if improved < 1e-14 * abs(loss):
            break
    return values


def _cross_entropy(logits: Floats, target: Floats, weights: Floats) -> float:
    losses = np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
    return float(np.dot(weights, losses))
