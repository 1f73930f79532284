"""Whether the figures of a row follow from its stored predictions and the labels.

Predictions are stored as float16, figures are those of the float32 logits before. Rounding keeps the order, so that
only pairs of a click and a non-click that are stored alike may be won or lost by it, each by one half; and it moves the
loss of a row by at most its slope times half a step of float16, and what the slope changes on the way. More than that
no true row is off.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.row import Row
from clicksmith.errors import ArtifactError
from clicksmith.evaluate.scored import sigmoid

SLACK = 1e-9
"""Of sums in another order."""
LARGEST = float(np.finfo(np.float16).max)
"""Larger logits are stored as this, and how much larger they were is not known."""


def check_figures(row: Row, labels: NDArray[np.uint8], logits: NDArray[Any], where: str) -> None:
    """Raise ArtifactError if AUC or log-loss of a finished row is not that of its stored logits, each [rows]."""
    found = _figures(labels, logits)
    for name, said in row.done.test.values.items():
        if name in found:
            value, allowed = found[name]
            if not abs(value - said.value) <= allowed + SLACK:
                raise ArtifactError(
                    f"'{where}' says {name} {said.value:.6f}, its stored predictions give {value:.6f} (within "
                    f"{allowed:.1g}): its figures are not those of its predictions."
                )


def _figures(labels: NDArray[np.uint8], logits: NDArray[Any]) -> dict[str, tuple[float, float]]:
    """Return each figure, and how far from it that of the unrounded logits may lie."""
    value, code = np.unique(logits, return_inverse=True)  # ascending; far fewer than there are rows
    ups = np.bincount(code, labels, value.size)
    downs = np.bincount(code, minlength=value.size) - ups
    pairs = ups.sum() * downs.sum() or float("nan")  # rows of one class have no AUC
    auc = float(ups @ (np.cumsum(downs) - downs / 2) / pairs), float(ups @ downs / 2 / pairs)
    x, p = value.astype(np.float64), sigmoid(value)
    half = np.spacing(np.minimum(np.abs(value), 2.0**15)).astype(np.float64) / 2  # the steps of the largest are alike
    loss = (ups @ np.logaddexp(0, -x) + downs @ np.logaddexp(0, x)) / labels.size
    moved = (ups @ (half * (1 - p)) + downs @ (half * p) + (ups + downs) @ half**2 / 8) / labels.size
    unbounded = np.abs(x).max() >= LARGEST
    return {"auc": auc, "logloss": (float(loss), float("inf") if unbounded else float(moved))}
