"""Statistics of a numeric column, exact and independent of the order of rows, and the scales made from them.

Sums and sums of squares are kept as integers in units of 2^-1074, of which every float64 is a multiple: no rounding, so
that the merge of two parts equals the whole. Quantiles come from counts of values cut to
12 bits after the leading one (whole numbers are exact up to 8192), so that memory stays bounded.
"""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.where import Where
from clicksmith.errors import DataError
from clicksmith.schema.columns import Numeric

Floats = NDArray[np.float64]
_CUT = 40
_LOW = (1 << 32) - 1
_MOST = 1 << 29
"""Values after which the partial sums are emptied, so that they cannot overflow."""


class Moments(msgspec.Struct, forbid_unknown_fields=True):
    """Exact sums of a column; `counts` are counts of buckets (log_square) or of cut values (quantile).

    low, high: the limits; None if the column has no number at all
    """

    count: int = 0
    missing: int = 0
    total: str = "0"
    squares: str = "0"
    low: float | None = None
    high: float | None = None
    counts: dict[int, int] = {}

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both parts together."""
        counts = dict(self.counts)
        for value, count in other.counts.items():
            counts[value] = counts.get(value, 0) + count
        return Moments(
            count=self.count + other.count,
            missing=self.missing + other.missing,
            total=hex(int(self.total, 0) + int(other.total, 0)),
            squares=hex(int(self.squares, 0) + int(other.squares, 0)),
            low=min((x for x in (self.low, other.low) if x is not None), default=None),
            high=max((x for x in (self.high, other.high) if x is not None), default=None),
            counts=dict(sorted(counts.items())),
        )

    @property
    def mean(self) -> float:
        """The mean of the values that are there, 0 if there are none."""
        return float(Fraction(int(self.total, 0), self.count << 1074)) if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation; 1 if all values are equal."""
        if not self.count:
            return 1.0
        largest = max(abs(self.low or 0.0), abs(self.high or 0.0))
        if largest > 1e150:  # the sum of squares has no float
            return largest / math.sqrt(self.count)
        mean = Fraction(int(self.total, 0), self.count << 1074)
        variance = Fraction(int(self.squares, 0), self.count << 1074) - mean * mean
        root = math.sqrt(max(0.0, float(variance)))
        return root if root > 1e-12 * max(1.0, largest) else 1.0


class Adder:
    """Sums and counts a column piece by piece; `column` says what is counted besides."""

    def __init__(self, column: Numeric) -> None:
        self._scale = column.scale
        self._moments = Moments(counts={})
        self._counts: dict[int, int] = {}
        self._clear()

    def add(self, values: Floats) -> None:
        """Add a contiguous piece, NaN where missing (logarithms where the scale says so)."""
        if self._rows + len(values) > _MOST:
            self._moments = self.moments()
            self._clear()
        if LIBRARY is not None:
            sums, squares, limits, count = self._addresses
            LIBRARY.enc_sum(at(values), len(values), 1, sums, squares, limits, count)
        else:
            _sum(values, self._acc, self._limits, self._count)
        self._rows += len(values)
        if self._scale in ("quantile", "log_square"):
            there = values[~np.isnan(values)]
            self._tally(_cut(there) if self._scale == "quantile" else log_square(there))

    def moments(self) -> Moments:
        """Return what was added so far."""
        count = int(self._count[0])
        new = Moments(
            count=count,
            missing=self._rows - count,
            total=hex(_whole(self._acc[0])),
            squares=hex(_whole(self._acc[1])),
            low=float(self._limits[0]) if count else None,
            high=float(self._limits[1]) if count else None,
            counts=self._counts,
        )
        return self._moments.merge(new)

    def _tally(self, keys: NDArray[np.int64]) -> None:
        values, counts = np.unique(keys, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._counts[value] = self._counts.get(value, 0) + count

    def _clear(self) -> None:
        self._rows, self._counts = 0, {}
        self._acc = np.zeros((2, 2048, 2), np.int64)
        self._limits, self._count = np.array([math.inf, -math.inf]), np.zeros(1, np.int64)
        self._addresses = at(self._acc[0]), at(self._acc[1]), at(self._limits), at(self._count)


def _whole(acc: NDArray[np.int64]) -> int:
    total = 0
    for e in np.flatnonzero(acc.any(1)).tolist():
        total += (int(acc[e, 0]) + (int(acc[e, 1]) << 32)) << (e - 1)
    return total


def _sum(values: Floats, acc: NDArray[np.int64], limits: Floats, count: NDArray[np.int64]) -> None:
    values = values[~np.isnan(values)]
    if len(values):
        limits[:] = min(limits[0], values.min()), max(limits[1], values.max())
    count[0] += len(values)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.minimum(values * values, np.finfo(np.float64).max)
        high = 134217729.0 * values  # Veltkamp's split, Dekker's product: what rounding took from the square
        high = high - (high - values)
        low = values - high
        rest = ((high * high - squares) + 2 * high * low) + low * low
    rest = np.where((squares > 1e-280) & (squares < np.finfo(np.float64).max), rest, 0.0)
    for part, x in ((0, values), (1, squares), (1, rest)):
        bits = x.view(np.int64)
        e, m = bits >> 52 & 2047, bits & ((1 << 52) - 1)
        m, e = np.where(e > 0, m | 1 << 52, m), np.maximum(e, 1)
        sign = np.where(bits < 0, -1, 1)
        np.add.at(acc[part, :, 0], e, sign * (m & _LOW))
        np.add.at(acc[part, :, 1], e, sign * (m >> 32))


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fitted scale needs, frozen when the encoder is fitted (`extend` leaves it)."""

    mean: float = 0.0
    deviation: float = 1.0
    fill: float | None = None
    """What stands for a missing number before scaling (a logarithm where the scale says so); None leaves it missing."""
    edges: tuple[float, ...] = ()


def gives_id(column: Numeric) -> bool:
    """Return whether the column's scale gives an id instead of a number."""
    return column.scale in ("quantile", "log_square")


def bent(values: Floats) -> Floats:
    """Return sign(x) ln(1 + |x|)."""
    return np.copysign(np.log1p(np.abs(values)), values)


def unbent(values: Floats) -> Floats:
    """Return the numbers of which `bent` made these."""
    return np.copysign(np.expm1(np.abs(values)), values)


def fitted(column: Numeric, moments: Moments) -> Scale:
    """Return the scale of a column from its moments."""
    mean = moments.mean
    if column.missing == "zero":
        fill: float | None = 0.0
    elif column.missing == "mean":
        fill = mean
    else:
        fill = None
    if column.scale in ("standard", "log"):
        return Scale(mean=mean, deviation=moments.deviation, fill=fill)
    return Scale(fill=fill, edges=_edges(moments, column.bins) if column.scale == "quantile" else ())


def log_square(values: Floats) -> NDArray[np.int64]:
    """Return floor(ln(x)^2) for x > 2, else int(x): the rule behind every number of BARS."""
    with np.errstate(divide="ignore", invalid="ignore"):
        large = np.floor(np.log(np.maximum(values, 1.0)) ** 2)
    small = np.trunc(np.clip(values, -(2.0**62), 2.0**62))
    return np.where(values > 2, large, small).astype(np.int64)


def buckets(column: Numeric, scale: Scale, values: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the bucket of every number of a column that gives ids, and which are missing (and not filled)."""
    missing = np.isnan(values)
    values = np.where(missing, 0.0 if scale.fill is None else scale.fill, values)
    if column.scale == "log_square":
        found = log_square(values)
    else:
        found = np.searchsorted(np.array(scale.edges), values, side="right").astype(np.int64)
    return found, missing & (scale.fill is None)


def bucket_counts(column: Numeric, scale: Scale, moments: Moments) -> dict[str, int]:
    """Return how often each bucket occurred in training; the empty text stands for missing."""
    counts: dict[str, int] = {}
    for key, count in moments.counts.items():
        value = key if column.scale == "log_square" else int(np.searchsorted(scale.edges, _lower(key), side="right"))
        counts[str(value)] = counts.get(str(value), 0) + count
    if moments.missing:
        name = ""
        if scale.fill is not None:
            name = str(buckets(column, scale, np.array([np.nan]))[0][0])
        counts[name] = counts.get(name, 0) + moments.missing
    return counts


def refuse_missing(column: Numeric, values: Floats, where: Where, first: int) -> None:
    """Raise DataError if the column must not have missing numbers and has one."""
    if column.missing == "refuse" and np.isnan(values).any():
        row = first + int(np.flatnonzero(np.isnan(values))[0])
        raise DataError(
            f"{where.row(row)}: column '{column.name}' is empty, and its schema says missing=\"refuse\". "
            'Fill the cell or declare missing="embed", "mean" or "zero".'
        )


def _cut(values: Floats) -> NDArray[np.int64]:
    bits = (values + 0.0).view(np.int64) >> _CUT
    return np.where(bits < 0, ~(bits & 0x7FFFFF), bits)


def _lower(key: int) -> float:
    bits = key << _CUT if key >= 0 else (~key << _CUT) | (1 << _CUT) - 1 | -(1 << 63)
    return float(np.array(bits, np.int64).view(np.float64))


def _edges(moments: Moments, bins: int) -> tuple[float, ...]:
    keys = sorted(moments.counts)
    below = np.cumsum([moments.counts[key] for key in keys])
    if not keys:
        return ()
    cuts = np.searchsorted(below, below[-1] * np.arange(1, bins) / bins, side="left") + 1
    return tuple(_lower(keys[i]) for i in np.unique(cuts[cuts < len(keys)]).tolist())
