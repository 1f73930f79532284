"""From logits to probabilities: the shift that undoes negative down-sampling, a calibration map, the sigmoid."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import DataError


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Platt's map of logits: `slope * logit + shift`. It keeps the order of rows where the slope is positive."""

    slope: float = 1.0
    shift: float = 0.0


class OutputMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to logits before they are shown as probabilities: one calibration per output.

    `offset` is added first: ln(rate) when only a share `rate` of the negatives was trained on.
    """

    offset: float = 0.0
    calibrations: tuple[Calibration, ...] = ()

    def logits(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map the model's logits [rows, outputs] to calibrated logits of the same shape."""
        shifted = logits.astype(np.float64) + self.offset
        if not self.calibrations:
            return shifted
        slope = np.array([c.slope for c in self.calibrations])
        return shifted * slope + np.array([c.shift for c in self.calibrations])

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map the model's logits [rows, outputs] to probabilities of the same shape."""
        return sigmoid(self.logits(logits))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-logits)) without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def offset_of(rate: float) -> float:
    """Return the logit shift for training with a share `rate` of the negatives: ln(rate)."""
    return math.log(rate)


def fit_calibration(
    labels: NDArray[np.floating], logits: NDArray[np.float64], weights: NDArray[np.floating] | None = None
) -> Calibration:
    """Fit slope and shift by Newton's method on the logloss of `labels`, with Platt's smoothed targets.

    Raises DataError if the labels are of one class only.
    """
    positives, negatives = float((labels > 0.5).sum()), float((labels <= 0.5).sum())
    if not positives or not negatives:
        raise DataError("calibration needs rows of both classes; the validation rows hold one only.")
    target = np.where(labels > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    mass = np.ones_like(logits) if weights is None else weights.astype(np.float64)
    design = np.stack([logits, np.ones_like(logits)], 1)
    theta = np.array([1.0, 0.0])
    loss = _logloss(design @ theta, target, mass)
    for _ in range(50):
        p = sigmoid(design @ theta)
        gradient = design.T @ (mass * (p - target))
        curvature = (design * (mass * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while scale > 1e-4 and _logloss(design @ (theta - scale * step), target, mass) > loss:
            scale /= 2
        theta = theta - scale * step
        before, loss = loss, _logloss(design @ theta, target, mass)
        if before - loss < 1e-12 * abs(before):
            break
    return Calibration(float(theta[0]), float(theta[1]))


def _logloss(logits: NDArray[np.float64], target: NDArray[np.float64], mass: NDArray[np.float64]) -> float:
    return float((mass * (np.logaddexp(0.0, logits) - target * logits)).sum() / mass.sum())
