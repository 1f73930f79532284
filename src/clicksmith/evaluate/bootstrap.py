"""The bootstrap: an interval for any metric, by rows or by groups."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.interval import Estimate, quantile
from clicksmith.evaluate.scored import Floats, Scored, require_groups

Statistic = Callable[[Scored, NDArray[np.int64], "NDArray[np.int64] | None"], float]
"""What is computed of a resample: its rows as a value, their numbers, and their groups (a group drawn twice is two)."""


def bootstrap(
    metric: Callable[[Scored], float],
    rows: Scored,
    *,
    by_group: bool = False,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return the value of `metric` with its percentile interval (Efron).

    With `by_group` whole groups are drawn, since rows of one user resemble each other. Resamples on which the metric
    is not defined (one class only) are drawn again.
    """
    quantile(level)
    values = resampled(
        rows, lambda drawn, _numbers, _groups: metric(drawn), by_group=by_group, resamples=resamples, seed=seed
    )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    error = float(np.std(values, ddof=1)) if values.size > 1 else None
    unit = "groups" if by_group else "rows"
    return Estimate(float(metric(rows)), float(low), float(high), error, f"bootstrap of {unit}, {resamples} resamples")


def resampled(rows: Scored, statistic: Statistic, *, by_group: bool, resamples: int, seed: int) -> Floats:
    """Return `statistic` on each resample [resamples]."""
    if resamples < 1:
        raise UsageError(f"resamples={resamples}: the bootstrap needs at least one resample.")
    random = np.random.Generator(np.random.PCG64(seed))
    draw = _draw_groups(rows) if by_group else _draw_rows(rows)
    values: list[float] = []
    failures = 0
    while len(values) < resamples:
        numbers, groups = draw(random)
        try:
            values.append(statistic(rows.take(numbers, groups), numbers, groups))
        except DataError:
            failures += 1
            if failures > 10 * resamples:
                raise
    return np.array(values)


Draw = Callable[[np.random.Generator], "tuple[NDArray[np.int64], NDArray[np.int64] | None]"]


def _draw_rows(rows: Scored) -> Draw:
    return lambda random: (random.integers(0, len(rows), len(rows)), None)


def _draw_groups(rows: Scored) -> Draw:
    groups = require_groups(rows, "bootstrap by group")
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    start = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    size = np.diff(np.append(start, ordered.size))

    def draw(random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        chosen = random.integers(0, start.size, start.size)
        sizes = size[chosen]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return order[np.repeat(start[chosen], sizes) + within], np.repeat(np.arange(chosen.size), sizes)

    return draw
