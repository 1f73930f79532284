"""Intervals: every metric gives a value and the influence of each independent unit; the rest is the same for all."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.evaluate.scored import Floats

Scale = Literal["share", "positive"]
"""`share` lies in [0, 1] (interval on the log-odds), `positive` in [0, inf) (interval on the logarithm)."""


@dataclass(frozen=True, slots=True)
class Influence:
    """A value and how much each unit moves it: estimate - truth is about the sum of independent influences.

    Shape: influence [rows], or [groups] if `by_group` (then groups are the independent units).
    """

    value: float
    influence: Floats
    by_group: bool = False
    trials: int | None = None
    """What a share of exactly 0 or 1 was observed in, where that may be fewer than the units."""
    lone: str = ""
    """What there is only one of, if that leaves the error unknown: "click" or "non-click"."""

    def error(self, groups: NDArray[np.int64] | None = None) -> float:
        """Return the standard error; with `groups` [rows], rows of one group may depend on each other."""
        parts = self.influence
        if groups is not None and not self.by_group:
            parts = np.bincount(groups, parts)
            count = np.unique(groups).size
            parts = parts * np.sqrt(count / max(count - 1, 1))
        return float(np.sqrt(np.dot(parts, parts)))

    def units(self, groups: NDArray[np.int64] | None = None) -> int:
        """Return the number of independent units."""
        return self.influence.size if groups is None or self.by_group else int(np.unique(groups).size)


class Estimate(msgspec.Struct, frozen=True):
    """A metric's value with its confidence interval; `low` and `high` are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    """Standard error."""
    method: str = ""
    """How the interval was made."""

    def __str__(self) -> str:
        """`0.7812 [0.7790, 0.7834]`."""
        return f"{self.value:.4f}" if self.low is None else f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def interval(measured: Influence, level: float, scale: Scale, groups: NDArray[np.int64] | None = None) -> Estimate:
    """Return the value with a normal interval on the metric's natural scale, so that it stays in its range."""
    value, error, z = measured.value, measured.error(groups), quantile(level)
    independent = "group" if measured.by_group or groups is not None else "row"
    method = f"delta method, one unit a {independent}"
    units = measured.units(groups)
    if units < 2:
        return Estimate(value, method="no interval: a single independent unit")
    if measured.lone:
        return Estimate(value, method=f"no interval: a single {measured.lone}")
    if scale == "share" and (error == 0 or value in (0.0, 1.0)):
        low, high = wilson(value, min(measured.trials or units, units), level)
        return Estimate(value, low, high, error, "Wilson, because the estimate does not vary")
    if scale == "share":
        centre, spread = np.log(value / (1 - value)), z * error / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-np.clip(x, -700, 700)))) for x in (centre - spread, centre + spread))
        return Estimate(value, low, high, error, method)
    if value <= 0:
        return Estimate(value, max(0.0, value - z * error), value + z * error, error, method)
    factor = float(np.exp(min(z * error / value, 700)))
    return Estimate(value, value / factor, value * factor, error, method)


def wilson(share: float, count: float, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a share observed in `count` independent trials."""
    low, high = wilson_bands(np.array([share]), np.array([count], np.float64), level)
    return float(low[0]), float(high[0])


def wilson_bands(share: Floats, count: Floats, level: float) -> tuple[Floats, Floats]:
    """Return Wilson's intervals of many shares at once; each lies in [0, 1] and has a width even at 0 and 1."""
    z2 = quantile(level) ** 2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count) / (1 + z2 / count)
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def quantile(level: float) -> float:
    """Return z such that a standard normal lies within +-z with probability `level`."""
    if not 0 < level < 1:
        raise UsageError(f"level={level} is not a probability between 0 and 1; pass level=0.95, for example.")
    return NormalDist().inv_cdf(0.5 + level / 2)


def two_sided_p(effect: float, error: float) -> float:
    """Return the two-sided normal p-value of an effect; 1 if there is neither effect nor error."""
    if error == 0:
        return 1.0 if effect == 0 else 0.0
    return float(2 * NormalDist().cdf(-abs(effect) / error))
