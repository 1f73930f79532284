"""Labels and predictions of the same rows, checked once. Every metric reads one `Scored`."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clicksmith.errors import DataError, UsageError

Floats = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scored:
    """Binary labels with a prediction each. Make one with `scored`, which checks it.

    Shape (n rows):
        labels:  [n] bool
        scores:  [n] float32 or float64 as given: logits, or probabilities if `are_probabilities`
        weights: [n] float64, or None for equal weights
        groups:  [n] int64, non-negative and below 2^31, or None
    """

    labels: NDArray[np.bool_]
    scores: Scores
    are_probabilities: bool = False
    weights: Floats | None = None
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return self.labels.size

    @cached_property
    def logits(self) -> Floats:
        """Log-odds [n]; probabilities of exactly 0 and 1 are moved inwards by the machine epsilon of their type."""
        if not self.are_probabilities:
            return self.scores.astype(np.float64)
        epsilon = float(np.finfo(self.scores.dtype).eps)
        p = np.clip(self.scores.astype(np.float64), epsilon, 1 - epsilon)
        return np.log(p) - np.log1p(-p)

    @cached_property
    def probabilities(self) -> Floats:
        """Probabilities [n] in float64."""
        return self.scores.astype(np.float64) if self.are_probabilities else sigmoid(self.scores)

    @cached_property
    def row_weights(self) -> Floats:
        """Weights [n]; ones if there are none."""
        return np.ones(len(self)) if self.weights is None else self.weights

    @property
    def positives(self) -> int:
        """Number of rows with label 1."""
        return int(np.count_nonzero(self.labels))

    def take(self, rows: NDArray[np.int64], groups: NDArray[np.int64] | None = None) -> "Scored":
        """Return the rows of those numbers, with `groups` in place of their own if given."""
        return Scored(
            self.labels[rows],
            self.scores[rows],
            self.are_probabilities,
            None if self.weights is None else self.weights[rows],
            groups if groups is not None else None if self.groups is None else self.groups[rows],
        )

    def with_scores(self, scores: Scores) -> "Scored":
        """Return the same rows with other scores of the same scale."""
        return Scored(self.labels, scores, self.are_probabilities, self.weights, self.groups)


def scored(
    labels: ArrayLike,
    *,
    logits: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Scored:
    """Check labels and predictions, and return them as one value.

    Labels are 0 and 1 (or bool), predictions finite; `groups` are integers or texts; weights are not negative.

    Raises:
        UsageError: neither or both of `logits` and `probabilities` are given.
        DataError: empty input, lengths that differ, a value that is not allowed (with its row).
    """
    if (logits is None) == (probabilities is None):
        given = "neither" if logits is None else "both"
        raise UsageError(f"{given} of logits= and probabilities= was given; pass exactly one of them.")
    name = "logits" if probabilities is None else "probabilities"
    y = _labels(labels)
    scores = _scores(logits if probabilities is None else probabilities, name)
    same_length(y, scores, name)
    if probabilities is not None:
        bad = (scores < 0) | (scores > 1)
        _refuse(bad, scores, name, "is outside [0, 1]", "pass logits= if these are logits")
    w = None if weights is None else _weights(weights, y)
    return Scored(y, scores, probabilities is not None, w, None if groups is None else _groups(groups, y))


def sigmoid(logits: Scores) -> Floats:
    """Return 1 / (1 + exp(-logit)) in float64, without overflow."""
    z = np.exp(-np.abs(logits.astype(np.float64)))
    return np.where(logits >= 0, 1.0, z) / (1.0 + z)


def require_groups(rows: Scored, metric: str) -> NDArray[np.int64]:
    """Return the groups, or raise the DataError that says how to give them."""
    if rows.groups is None:
        raise DataError(f"'{metric}' needs groups and none were given; pass groups= or declare group= in the schema.")
    return rows.groups


def require_both_classes(rows: Scored, metric: str) -> None:
    """Raise DataError if all labels are equal."""
    only = one_class(rows)
    if only is not None:
        raise DataError(
            f"all {len(rows)} labels are {only}; '{metric}' needs rows of both classes. "
            "Evaluate on more rows, or check the label column."
        )


def one_class(rows: Scored) -> int | None:
    """Return the only label there is (with a positive weight), or None if there are both."""
    labels = rows.labels if rows.weights is None else rows.labels[rows.weights > 0]
    if labels.any() and not labels.all():
        return None
    return int(labels.any())


def is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, or pandas' NA and NaT."""
    if isinstance(value, float | Decimal | np.floating):
        return bool(value != value)
    return value is None or (not isinstance(value, str) and str(value) in ("NaT", "<NA>"))


def same_length(labels: NDArray[Any], values: NDArray[Any], name: str) -> None:
    """Raise DataError unless there is one value a label."""
    if values.size != labels.size:
        raise DataError(f"{values.size} {name} for {labels.size} labels; pass one value a row, in the same order.")


def _labels(values: ArrayLike) -> NDArray[np.bool_]:
    array = _one_axis(values, "labels")
    if array.size == 0:
        raise DataError("there are no rows to evaluate: labels is empty. Check the file or the filter that made it.")
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.number):
        raise DataError(f"labels have type {array.dtype}, which is not a number; map them to 0 and 1 first.")
    positive = array == 1
    _refuse(~(positive | (array == 0)), array, "labels", "is neither 0 nor 1", "map labels to 0 and 1 first")
    return positive


def _scores(values: ArrayLike | None, name: str) -> Scores:
    array = _one_axis(values, name)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.type not in (np.float32, np.float64):
        array = _floats(array, name)
    _refuse(~np.isfinite(array), array, name, "is not finite", "the model diverged or the file is damaged")
    return array


def _weights(values: ArrayLike, labels: NDArray[np.bool_]) -> Floats:
    array = _floats(_one_axis(values, "weights"), "weights")
    same_length(labels, array, "weights")
    most = float(np.finfo(np.float32).max)  # beyond, sums overflow
    cure = "weights are finite, at most 3e38, and not negative"
    _refuse(~((array >= 0) & (array <= most)), array, "weights", "is not a weight", cure)
    if not array.any():
        raise DataError("all weights are 0; give at least one row a positive weight.")
    return array


def _floats(array: NDArray[Any], name: str) -> Floats:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} have type {array.dtype}, which is not a number; pass floats.") from error


def _groups(values: ArrayLike, labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    array = _one_axis(values, "groups")
    same_length(labels, array, "groups")
    if array.dtype == object:
        missing = np.fromiter((is_missing(v) for v in array), np.bool_, array.size)
        _refuse(missing, array, "groups", "is not a group", "name a group for every row")
        array = array.astype(str)
    if array.dtype.kind == "f":
        _refuse(np.isnan(array), array, "groups", "is not a group", "name a group for every row")
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if high - low < max(
            1 << 20, 8 * array.size
        ):  # numbers that are few, or close to each other, are left as they are
            return (array.astype(np.int64) - low) if high < 2**63 else (array - np.uint64(low)).astype(np.int64)
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _one_axis(values: ArrayLike | None, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{name} have shape {array.shape}; pass one axis, one value a row (one output at a time).")
    return array


def _refuse(bad: NDArray[np.bool_], values: NDArray[Any], name: str, what: str, cure: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        more = int(np.count_nonzero(bad)) - 1
        others = f" (and {more} more)" if more else ""
        raise DataError(f"{name}, row {row}: {values[row]} {what}{others}; {cure}.")
