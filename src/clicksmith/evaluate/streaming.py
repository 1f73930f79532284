"""Metrics that are sums over rows, gathered batch by batch and merged over workers; nothing is kept but the sums."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from clicksmith.errors import DataError
from clicksmith.evaluate.calibration import Bin, bin_numbers
from clicksmith.evaluate.interval import wilson_bands
from clicksmith.evaluate.logloss import log_losses
from clicksmith.evaluate.scored import Floats, Scored, scored


@dataclass(slots=True)
class RunningMetrics:
    """Sums for log-loss, normalised entropy, Brier score and calibration over `bins` bins of equal width.

    AUC and GAUC are not sums: keep the predictions (4 bytes a row, `Predictions`) and compute them at the end.
    """

    bins: int = 100
    rows: int = 0
    weight: float = 0.0
    clicks: float = 0.0
    loss: float = 0.0
    squares: float = 0.0
    table: Floats = field(default_factory=lambda: np.empty(0))
    """[4, bins]: weight, sum of probabilities, clicks, squared weights."""

    def __post_init__(self) -> None:
        """Make the empty table."""
        if not self.table.size:
            self.table = np.zeros((4, self.bins))

    def update(
        self,
        labels: ArrayLike,
        *,
        logits: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Add the rows of one batch."""
        self.add(scored(labels, logits=logits, probabilities=probabilities, weights=weights))

    def add(self, rows: Scored) -> None:
        """Add checked rows."""
        w, p, y = rows.row_weights, rows.probabilities, rows.labels.astype(np.float64)
        self.rows += len(rows)
        self.weight += float(w.sum())
        self.clicks += float(np.dot(w, y))
        self.loss += float(np.dot(w, log_losses(rows)))
        self.squares += float(np.dot(w, (p - y) ** 2))
        number = bin_numbers(p, self.bins, "width")
        for row, values in enumerate((w, w * p, w * y, w * w)):
            self.table[row] += np.bincount(number, values, self.bins)

    def merge(self, other: "RunningMetrics") -> None:
        """Add the sums of another part of the data."""
        if self.bins != other.bins:
            raise DataError(f"sums over {self.bins} and {other.bins} bins cannot be merged; use one number of bins.")
        for name in ("rows", "weight", "clicks", "loss", "squares"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.table += other.table

    def values(self) -> dict[str, float]:
        """Return the metrics of all rows so far; those that one class leaves undefined are absent."""
        if not self.rows:
            raise DataError("no rows were added, so there are no metrics; call update() first.")
        weight, predicted, clicks = self.table[0], self.table[1], self.table[2]
        found = {
            "logloss": self.loss / self.weight,
            "brier": self.squares / self.weight,
            "ece": float(np.abs(predicted - clicks).sum() / weight.sum()),
        }
        rate = self.clicks / self.weight
        if rate > 0:
            found["predicted_over_observed"] = float(predicted.sum() / self.clicks)
        if 0 < rate < 1:
            found["normalised_entropy"] = found["logloss"] / float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))
        return found

    def reliability(self, level: float = 0.95) -> tuple[Bin, ...]:
        """Return the reliability curve; `Bin.rows` is the effective number of rows where weights differ."""
        full = self.table[0] > 0
        weight, predicted, clicks, squares = self.table[:, full]
        effective, observed = weight**2 / squares, np.minimum(clicks / weight, 1.0)
        low, high = wilson_bands(observed, effective, level)
        columns = (effective, weight, predicted / weight, observed, low, high)
        return tuple(Bin(round(n), *(float(x) for x in rest)) for n, *rest in zip(*columns, strict=True))
