"""Ranking within groups: NDCG@k, MRR and HitRate@k, all groups at once.

Rows of equal score are in random order, and the metric is the expectation over that order: a constant score gets what
guessing gets. Groups without a click have no ideal ranking and are left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import DataError
from clicksmith.evaluate.auc import ordered_bits, run_starts
from clicksmith.evaluate.interval import Influence
from clicksmith.evaluate.scored import Floats, Scored, require_groups

EVERYTHING = 2**31
"""The k of a metric without a cut-off."""

FEW = 64
"""Places of tied rows that are gone through for all groups at once; longer ties are finished one by one."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows of one group and one score, best score first.

    Shape: every array is [runs]; `group` counts the groups with a click from 0.
    """

    group: NDArray[np.int64]
    start: NDArray[np.int64]
    """Rows of the group that are scored higher."""
    rows: NDArray[np.int64]
    clicks: NDArray[np.int64]


def ndcg(rows: Scored, k: int = EVERYTHING) -> Influence:
    """Return the mean over groups of DCG@k / ideal DCG@k, with gain 1 for a click and discount 1 / log2(1 + rank)."""
    runs = _runs(rows, f"ndcg@{k}")
    deepest = int(min((runs.start + runs.rows).max(), k))
    discount = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, deepest + 2))))
    visible = discount[np.minimum(runs.start + runs.rows, deepest)] - discount[np.minimum(runs.start, deepest)]
    gained = np.bincount(runs.group, visible * runs.clicks / runs.rows)
    clicks = np.bincount(runs.group, runs.clicks).astype(np.int64)
    return _mean(gained / discount[np.minimum(clicks, deepest)])


def mrr(rows: Scored, k: int = EVERYTHING) -> Influence:
    """Return the mean over groups of 1 / rank of the first click, 0 if it is below rank k."""
    best = _first_with_click(_runs(rows, "mrr"))
    return _mean(_over_places(best, k, reciprocal=True))


def hit_rate(rows: Scored, k: int) -> Influence:
    """Return the share of groups with a click among the first k."""
    best = _first_with_click(_runs(rows, f"hitrate@{k}"))
    return _mean(_over_places(best, k, reciprocal=False))


def _over_places(best: Runs, k: int, *, reciprocal: bool) -> Floats:
    """Return sum over places j of P(the first click is at j) * (1 / rank of j, or 1), for places above rank k."""
    total, none_yet = np.zeros(best.rows.size), np.ones(best.rows.size)
    active, place = np.arange(best.rows.size), 0
    while True:
        active = active[(best.start[active] + place < k) & (best.rows[active] - best.clicks[active] >= place)]
        if place >= FEW and active.size <= place:  # else all at once are quicker than one by one
            for run in active:
                total[run] += none_yet[run] * _over_rest(best, run, place, k, reciprocal=reciprocal)
            return total
        if not active.size:
            return total
        hit = none_yet[active] * best.clicks[active] / (best.rows[active] - place)
        total[active] += hit / (best.start[active] + place + 1) if reciprocal else hit
        none_yet[active] -= hit
        place += 1


def _over_rest(best: Runs, run: int, place: int, k: int, *, reciprocal: bool) -> float:
    """Return the sum of `_over_places` of one run from `place` on, given no click before it."""
    start, rows, clicks = int(best.start[run]), int(best.rows[run]), int(best.clicks[run])
    places = np.arange(place, min(rows - clicks + 1, k - start))
    chance = clicks / (rows - places)
    hits = np.append(1.0, np.cumprod(1 - chance)[:-1]) * chance
    return float((hits / (start + places + 1) if reciprocal else hits).sum())


def _runs(rows: Scored, metric: str) -> Runs:
    groups = require_groups(rows, metric)
    worst_first = ordered_bits(rows.scores)
    key = (
        (groups.astype(np.uint64) << np.uint64(33))
        | ((np.uint64(2**32 - 1) - worst_first) << np.uint64(1))
        | rows.labels
    )
    key.sort()
    clicked = (key & np.uint64(1)).astype(np.int64)
    key >>= np.uint64(1)
    first = run_starts(key)
    size, clicks = np.diff(np.append(first, len(rows))), np.add.reduceat(clicked, first)
    group = key[first] >> np.uint64(32)
    number = np.cumsum(np.append(False, group[1:] != group[:-1]))
    begin = first[run_starts(group)]
    start = first - begin[number]
    with_click = np.bincount(number, clicks) > 0
    if not with_click.any():
        raise DataError(
            f"none of the {with_click.size} groups has a click, so '{metric}' is not defined; evaluate on more rows."
        )
    kept = with_click[number]
    return Runs((np.cumsum(with_click) - 1)[number[kept]], start[kept], size[kept], clicks[kept])


def _first_with_click(runs: Runs) -> Runs:
    clicked = np.flatnonzero(runs.clicks > 0)
    best = clicked[np.unique(runs.group[clicked], return_index=True)[1]]
    return Runs(runs.group[best], runs.start[best], runs.rows[best], runs.clicks[best])


def _mean(each: Floats) -> Influence:
    count = each.size
    value = float(each.mean())
    return Influence(value, (each - value) / count * np.sqrt(count / max(count - 1, 1)), by_group=True)
