"""How a model does on parts of the test rows, derived from stored predictions and facts of the rows.

- `rarest id`: how often training rows hold the rarest id of the row, of its fields and bags (histories count as
  occurrences, but a row's own history is not looked at). `cold` rows hold an id that training did not see, or too
  rarely to give it a number of its own; the others are cut into thirds, `tail`, `middle` and `head`.
- `time`: fifths of the test rows by time, the earliest first: what drift does to the model.

Rows of the same count or the same moment stay together, so that parts may differ in size or be missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.facts import RAREST, TIME, Facts
from clicksmith.evaluate.evaluation import Slice, sliced
from clicksmith.evaluate.interval import Estimate
from clicksmith.evaluate.scored import Scores, scored

BY_RAREST, BY_TIME = "rarest id", "time"
_THIRDS = ("tail", "middle", "head")
_FIFTHS = 5


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows cut into parts: the part of row i has the title `titles[codes[i]]`."""

    column: str
    titles: tuple[str, ...]
    codes: NDArray[np.int64]


def cuts_of(facts: Facts) -> list[Cut]:
    """Return the cuts that facts of the test rows allow."""
    found: list[Cut] = []
    if RAREST in facts:
        found.append(_by_rarest(facts[RAREST]))
    if TIME in facts:
        found.append(_by_time(facts[TIME]))
    return found


def mean_slices(
    labels: NDArray[np.uint8], seeds: Sequence[Scores], cuts: Sequence[Cut], level: float
) -> tuple[Slice, ...]:
    """Return the metrics of each part, every figure and every bound of an interval the mean over the seeds' logits."""
    rows = [scored(labels, logits=one) for one in seeds]
    found: list[Slice] = []
    for cut in cuts:
        by_seed = [sorted(sliced(one, cut.column, cut.codes, level), key=lambda s: int(s.value)) for one in rows]
        for same in zip(*by_seed, strict=True):
            values = {name: _mean([one.values[name] for one in same]) for name in same[0].values}
            found.append(Slice(cut.column, cut.titles[int(same[0].value)], same[0].rows, same[0].clicks, values))
    return tuple(found)


def _by_rarest(counts: NDArray[Any]) -> Cut:
    cold = counts == 0
    codes = np.zeros(counts.size, np.int64)
    codes[~cold] = 1 + _part(counts[~cold], len(_THIRDS))
    titles = ["cold: 0"]
    for part, name in enumerate(_THIRDS, 1):
        inside = counts[codes == part]
        titles.append(f"{name}: {inside.min():,} to {inside.max():,}" if inside.size else name)
    return Cut(BY_RAREST, tuple(titles), codes)


def _by_time(seconds: NDArray[Any]) -> Cut:
    known = np.isfinite(seconds)
    codes = np.full(seconds.size, _FIFTHS, np.int64)
    codes[known] = _part(seconds[known], _FIFTHS)
    titles: list[str] = []
    for part in range(_FIFTHS):
        inside = seconds[codes == part]
        span = f": {_moment(inside.min())} to {_moment(inside.max())}" if inside.size else ""
        titles.append(f"{part + 1} of {_FIFTHS}{span}")
    return Cut(BY_TIME, (*titles, "(no time)"), codes)


def _part(values: NDArray[Any], parts: int) -> NDArray[np.int64]:
    """Return which of so many equal parts each value lies in; equal values lie in one."""
    if not values.size:
        return np.zeros(0, np.int64)
    edges = np.quantile(values, np.arange(1, parts) / parts, method="higher")
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _moment(seconds: float) -> str:
    """Return a time in UTC, to the minute.

    >>> _moment(956_703_932.0)
    '2000-04-25 23:05'
    """
    return str(np.datetime_as_string(np.datetime64(int(seconds), "s"), unit="m")).replace("T", " ")


def _mean(same: Sequence[Estimate]) -> Estimate:
    bounds = [mean(b for b in bs if b is not None) if None not in bs else None for bs in (
        [one.low for one in same], [one.high for one in same], [one.error for one in same],
    )]  # fmt: skip
    many = "" if len(same) == 1 else f", mean of {len(same)} seeds"
    return Estimate(mean(one.value for one in same), *bounds, method=f"{same[0].method}{many}")
