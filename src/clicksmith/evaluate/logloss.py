"""Means over rows: log-loss (cross-entropy), normalised entropy, the Brier score; each with its rows' influence."""

import numpy as np
from numpy.typing import ArrayLike

from clicksmith.evaluate.interval import Influence
from clicksmith.evaluate.scored import Floats, Scored, require_both_classes, scored


def logloss(
    labels: ArrayLike,
    *,
    logits: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> float:
    """Return the mean cross-entropy in nats; stable for logits of any size.

    >>> logloss([1, 0], logits=[0.0, -1000.0])
    0.34657359027997264
    """
    rows = scored(labels, logits=logits, probabilities=probabilities, weights=weights)
    return logloss_influence(rows).value


def log_losses(rows: Scored) -> Floats:
    """Return each row's cross-entropy [n]: log(1 + exp(-z)) for a click, log(1 + exp(z)) otherwise."""
    z = np.where(rows.labels, -rows.logits, rows.logits)
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def logloss_influence(rows: Scored) -> Influence:
    """Return the log-loss."""
    return mean_of(rows, log_losses(rows))


def brier_influence(rows: Scored) -> Influence:
    """Return the Brier score: the mean squared distance of probability and label."""
    return mean_of(rows, (rows.probabilities - rows.labels) ** 2)


def entropy_influence(rows: Scored) -> Influence:
    """Return the normalised entropy: log-loss over the entropy of the click rate (He et al., ADKDD 2014).

    1 is as good as predicting the click rate for every row; lower is better.
    """
    require_both_classes(rows, "normalised_entropy")
    loss, rate = logloss_influence(rows), mean_of(rows, rows.labels.astype(np.float64))
    entropy = -rate.value * np.log(rate.value) - (1 - rate.value) * np.log1p(-rate.value)
    value = loss.value / entropy
    slope = np.log1p(-rate.value) - np.log(rate.value)
    return Influence(float(value), (loss.influence - value * slope * rate.influence) / entropy)


def mean_of(rows: Scored, values: Floats) -> Influence:
    """Return the weighted mean of `values` [n] with the influence of each row."""
    weights, count = rows.row_weights, len(rows)
    total = weights.sum()
    mean = float(np.dot(weights, values) / total)
    return Influence(mean, weights * (values - mean) / total * np.sqrt(count / max(count - 1, 1)))
