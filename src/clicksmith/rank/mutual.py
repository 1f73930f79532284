"""Mutual information from counts, and its mean and spread if label and field were independent, from the margins.

All in nats. A field with many values has a large plug-in mutual information with any label; the mean over all
permutations of the label is subtracted, so that noise of any cardinality scores 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.delimited import threads

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_WINDOW = 8.0
"""Standard deviations of the hypergeometric distribution that are summed over, with 30 more for its skewed tails."""
_TAIL = 30.0
_CELLS = 1 << 17
"""Cells of a window table that are held at once."""


def entropy(counts: Counts | Floats | Sequence[float]) -> float:
    """Return the entropy of a distribution given by counts (or weights)."""
    all_ = np.asarray(counts, np.float64)
    there = all_[all_ > 0]
    total = float(there.sum())
    return float(math.log(total) - (there * np.log(there)).sum() / total) if total else 0.0


def mutual_information(rows: Counts | Floats, clicks: Counts | Floats) -> float:
    """Return the plug-in mutual information of a field and a 0/1 label.

    Shape:
        rows, clicks: [values] rows and clicks of each value
    """
    total = float(rows.sum())
    if not total:
        return 0.0
    inside = (rows * _row_entropy(rows, clicks)).sum() / total
    return max(0.0, _bernoulli(float(clicks.sum()) / total) - float(inside))


def _row_entropy(rows: Counts | Floats, clicks: Counts | Floats) -> Floats:
    """Return the label's entropy within each value: [values]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.clip(clicks / rows, 0.0, 1.0)
        found = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return np.nan_to_num(found, nan=0.0)


def _bernoulli(p: float) -> float:
    return 0.0 if p <= 0 or p >= 1 else -(p * math.log(p) + (1 - p) * math.log1p(-p))


@dataclass(frozen=True, slots=True)
class Null:
    """Mutual information if the label were independent of the field: its moments over all permutations.

    skew: None: that of a gamma distribution that begins at 0
    halves: of a field of two values all is known, see `_Halves`
    """

    mean: float
    variance: float
    skew: float | None = None
    halves: _Halves | None = None

    def deviate(self, information: float) -> float:
        """Return the normal deviate z of seeing this much or more: noise of any cardinality exceeds 3 once in 740.

        Exact for two values. For more the null is taken as a gamma distribution of these moments (for large counts it
        is one: chi-squared; where few clicks are expected of a value it is as skewed), its tail as that of
        Barndorff-Nielsen's r*, accurate far out.
        """
        if self.mean <= 1e-15 or self.variance <= 1e-14 * self.mean**2:
            return 0.0
        if self.halves is not None:
            return _deviate(self.halves.log_tail(information))
        shape = self.mean**2 / self.variance
        if self.skew is not None and self.skew > 0:
            shape = min(shape, 4 / self.skew**2)  # of few values the skew is more than that of independent ones
        excess = max((information - self.mean) / math.sqrt(shape * self.variance), -1.0 + 1e-9)
        if abs(excess) < 1e-4:
            return math.sqrt(shape) * excess + 1 / (3 * math.sqrt(shape))
        root = math.copysign(math.sqrt(2 * shape * (excess - math.log1p(excess))), excess)
        return root + math.log(math.sqrt(shape) * excess / root) / root

    def at(self, z: float) -> float:
        """Return about the least information above the mean whose deviate is `z` or more."""
        if self.mean <= 1e-15 or self.variance <= 1e-14 * self.mean**2:
            return self.mean
        low, high = self.mean, self.mean + math.sqrt(self.variance)
        for _ in range(60):  # what is certain has no more: a field of two rows never surprises
            if self.deviate(high) >= z:
                break
            low, high = high, self.mean + 2 * (high - self.mean)
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (low, middle) if self.deviate(middle) >= z else (middle, high)
        return high


@dataclass(frozen=True, slots=True)
class _Halves:
    """A field of two values, `size` rows of the one: its clicks are hypergeometric.

    rows, clicks: of the whole label
    """

    rows: int
    clicks: int
    size: int

    def log_tail(self, information: float) -> float:
        """Return the logarithm of the probability of this much information or more."""
        n, c, a = self.rows, self.clicks, self.size
        low, high, middle = max(0, a + c - n), min(a, c), a * c / n
        least = information * (1 - 1e-12) - 1e-15
        above, below = math.floor(middle) + 1, math.floor(middle)
        tails = [self._log_sum(self._first(above, high, 1, least), high, 1)]
        tails.append(self._log_sum(self._first(below, low, -1, least), low, -1))
        most = max(tails)
        return most + math.log(sum(math.exp(tail - most) for tail in tails)) if most > -math.inf else -math.inf

    def _information(self, hits: int) -> float:
        rows = np.array([self.size, self.rows - self.size])
        return mutual_information(rows, np.array([hits, self.clicks - hits]))

    def _first(self, near: int, end: int, step: int, least: float) -> int:
        """Return the number of clicks nearest to the middle that says at least so much; beyond `end` if none does."""
        if (end - near) * step < 0 or self._information(end) < least:
            return end + step
        inside, outside = end, near - step
        while abs(inside - outside) > 1:
            tried = (inside + outside) // 2
            inside, outside = (tried, outside) if self._information(tried) >= least else (inside, tried)
        return inside

    def _log_sum(self, first: int, end: int, step: int) -> float:
        """Return the logarithm of the probability of the numbers of clicks from `first` to `end`."""
        if (end - first) * step < 0:
            return -math.inf
        n, c, a = self.rows, self.clicks, self.size
        start = _log_choose(a, first) + _log_choose(n - a, c - first) - _log_choose(n, c)
        spread = math.sqrt(a * c / n * (1 - c / n) * (n - a) / max(n - 1, 1))
        count = min(abs(end - first), math.ceil(10 * spread) + 60)  # more adds less than the last digit
        h = first + step * np.arange(count, dtype=np.float64)
        with np.errstate(divide="ignore"):
            if step > 0:
                more = np.log((a - h) * (c - h)) - np.log((h + 1) * (n - a - c + h + 1))
            else:
                more = np.log(h * (n - a - c + h)) - np.log((a - h + 1) * (c - h + 1))
        chances = np.append(0.0, np.cumsum(more))
        most = float(chances.max())
        return start + most + math.log(float(np.exp(chances - most).sum()))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _deviate(log_chance: float) -> float:
    """Return the normal deviate that is exceeded with a probability, given its logarithm."""
    if log_chance > -600:
        return -NormalDist().inv_cdf(min(math.exp(log_chance), 1 - 1e-9))
    z = math.sqrt(-2 * log_chance) if log_chance > -math.inf else math.inf
    for _ in range(3 if z < math.inf else 0):
        z = math.sqrt(-2 * log_chance - math.log(2 * math.pi * z * z))
    return z


class NullOfLabel:
    """The null of any field against one 0/1 label, which has `clicks` ones in `rows` rows.

    What a value adds depends on its row count alone, so that it is computed once per distinct count, for all fields.
    """

    def __init__(self, rows: int, clicks: int) -> None:
        self.rows, self.clicks = rows, clicks
        self._known = np.zeros(0, np.int64)
        self._told = np.zeros((0, 5))

    def prepare(self, fields: Sequence[Counts]) -> None:
        """Compute what many fields need at once, which is quicker than field by field."""
        sizes = [np.unique(rows) for rows in fields]
        if sizes:
            met = np.unique(np.concatenate(sizes))
            self._of_sizes(met[(met > 0) & (met < self.rows)])

    def of(self, rows: Counts) -> Null:
        """Return the null of a field whose values have these row counts: [values]."""
        sizes, times = np.unique(rows[rows > 0], return_counts=True)
        if times.sum() < 2 or self.clicks in (0, self.rows):
            return Null(0.0, 0.0)
        mean, own, line, bend, third = self._of_sizes(sizes).T
        # Values are not independent: their clicks add up. Correlation of the counts of u and v is -s_u s_v; the parts
        # of what they add that are linear and quadratic in the count correlate by its first and second power.
        odds = sizes / (self.rows - sizes)
        straight, curved = line * np.sqrt(odds), bend * odds
        shared = (times * straight).sum() ** 2 - (times * straight**2).sum()
        paired = (times * curved).sum() ** 2 - (times * curved**2).sum()
        halves = _Halves(self.rows, self.clicks, int(sizes[0])) if times.sum() == 2 else None
        alone = float((times * own).sum())
        skew = float((times * third).sum()) / alone**1.5 if alone > 0 else None  # as if values were independent
        return Null(float((times * mean).sum()), max(0.0, alone - shared + paired), skew, halves)

    def _of_sizes(self, sizes: Counts) -> Floats:
        """Return of what values of these sizes add mean, variance, linear, quadratic part, third moment: [sizes, 5]."""
        fresh = np.setdiff1d(sizes, self._known, assume_unique=True)
        if len(fresh):
            known = np.concatenate([self._known, fresh])
            told = np.concatenate([self._told, self._computed(fresh)])
            order = np.argsort(known)
            self._known, self._told = known[order], told[order]
        return self._told[np.searchsorted(self._known, sizes)]

    def _computed(self, sizes: Counts) -> Floats:
        out = np.zeros((len(sizes), 5))

        def compute(window: Window) -> None:
            hits, chance = window.table()
            where = window.where
            size = sizes[where][:, None].astype(np.float64)
            added = (
                _term(hits, size * self.clicks / self.rows)
                + _term(size - hits, size * (self.rows - self.clicks) / self.rows)
            ) / self.rows
            mean = (chance * added).sum(1)
            off = added - mean[:, None]
            middle = (chance * hits).sum(1)
            away = hits - middle[:, None]
            spread = np.sqrt((chance * away**2).sum(1))[:, None]
            away = away / np.where(spread > 0, spread, 1.0)
            skew = (chance * away**3).sum(1)[:, None]
            square = away**2 - skew * away - 1.0
            norm = np.sqrt((chance * square**2).sum(1))[:, None]
            square = np.where(norm > 1e-6, square / np.where(norm > 0, norm, 1.0), 0.0)
            parts = [(chance * off * part).sum(1) for part in (off, away, square)]
            out[where] = np.stack([mean, *parts, (chance * off**3).sum(1)], 1)

        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(compute, windows(self.rows, self.clicks, sizes)))
        return out


@dataclass(frozen=True)
class Window:
    """A piece of the hypergeometric distributions of `marked` among some sizes of rows drawn from `rows`.

    Shape:
        where: [p] positions of the sizes; sizes, low (the least number of marked rows), width: [p, 1]
    """

    rows: float
    marked: float
    where: NDArray[np.intp]
    sizes: Floats
    low: Floats
    width: Counts

    def table(self) -> tuple[Floats, Floats]:
        """Return numbers of marked rows and their probabilities: each [p, window].

        These come from the ratios of neighbours and are normalised: no logarithm of a factorial, no cancellation.
        """
        n, c, a = self.rows, self.marked, self.sizes
        step = np.arange(int(self.width.max()), dtype=np.float64)
        inside = step < self.width
        hits = np.where(inside, self.low + step, self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            before = hits[:, 1:] - 1
            ratio = np.log((a - before) * (c - before) / ((before + 1) * (n - a - c + before + 1)))
        log_chance = np.zeros_like(hits)
        np.cumsum(np.where(inside[:, 1:], ratio, 0.0), 1, out=log_chance[:, 1:])
        log_chance -= np.where(inside, log_chance, -np.inf).max(1, keepdims=True)
        chance = np.where(inside, np.exp(log_chance), 0.0)
        return hits, chance / chance.sum(1, keepdims=True)


def windows(rows: int, marked: int, sizes: Counts) -> Iterator[Window]:
    """Yield windows of the distributions of all sizes, those of like width together."""
    n, c, a = float(rows), float(marked), sizes.astype(np.float64)
    mean = a * c / n
    spread = np.sqrt(np.maximum(mean * (1 - c / n) * (n - a) / max(n - 1, 1.0), 0.0))
    low = np.maximum(np.maximum(0.0, a + c - n), np.floor(mean - _WINDOW * spread - _TAIL))
    high = np.minimum(np.minimum(a, c), np.ceil(mean + _WINDOW * spread + _TAIL))
    width = (high - low + 1).astype(np.int64)
    order = np.argsort(width, kind="stable")
    start = 0
    while start < len(order):
        least = int(width[order[start]])
        stop = int(np.searchsorted(width[order], least + least // 4 + 8, side="right"))
        stop = min(stop, start + max(1, _CELLS // (2 * int(width[order[stop - 1]]))))
        where = order[start:stop]
        yield Window(n, c, where, a[where, None], low[where, None], width[where, None])
        start = stop


def _term(count: Floats, expected: Floats) -> Floats:
    """Return count ln(count / expected), 0 for a count of 0."""
    return count * np.log(np.where(count > 0, count, expected) / expected)
