"""The ways to score a field: our own, the paper's, and baselines. Each returns a number per field, larger is better.

Paper: outrank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.rank.counts import Counts, checked, count
from clicksmith.rank.mutual import Null, entropy
from clicksmith.rank.scored import Seen, best_value, drawn_nulls, presence, seen
from clicksmith.rank.views import Codes, View, pieces, sampled

BATCH = 16_384
"""Rows that the paper scores apart."""
LEFT_OVER = 1_024
"""A last batch of so few rows is dropped, unless it is the only one."""
SMOOTHING = 20.0
"""Rows of the average click rate that `holdout` adds to every value."""
FOREST_ROWS = 50_000


@dataclass(frozen=True)
class Evidence:
    """What a method may look at."""

    store: Store
    counts: Counts
    views: Sequence[View]
    seen: dict[str, list[Seen]]
    """By field, the most certain view first."""
    label: int
    seed: int
    rotations: int
    holdout: float

    @property
    def single(self) -> list[View]:
        """The first view of each field that gives a code per row."""
        first: dict[str, View] = {}
        for view in self.views:
            if view.kind != "one value":
                first.setdefault(view.field, view)
        return list(first.values())


def adjusted_mi(given: Evidence) -> dict[str, float]:
    """Mutual information beyond chance, less one standard deviation of chance: what is surely there, in nats."""
    return {name: views[0].information - math.sqrt(views[0].null.variance) for name, views in given.seen.items()}


def plain_mi(given: Evidence) -> dict[str, float]:
    """Plug-in mutual information; it puts fields with many values first."""
    return {name: views[0].plain for name, views in given.seen.items()}


def permutation(given: Evidence) -> dict[str, float]:
    """Mutual information less its mean over random permutations of the label."""
    if "weight" in given.store.targets:
        return {name: views[0].information for name, views in given.seen.items()}
    drawn = seen(given.counts, given.views, drawn_nulls(given.counts, given.seed))
    return {name: views[0].information for name, views in drawn.items()}


def chi2(given: Evidence) -> dict[str, float]:
    """Pearson's chi-squared statistic of the field's table with the label, as a normal deviate."""
    found: dict[str, float] = {}
    rate = given.counts.clicks / given.counts.total
    for name, views in given.seen.items():
        rows, clicks = (part[views[0].table[0] > 0] for part in views[0].table)
        statistic = float(((clicks - rows * rate) ** 2 / (rows * rate * (1 - rate))).sum())
        freedom = len(rows) - 1
        found[name] = Null(freedom, 2 * freedom).deviate(statistic)
    return found


def outrank(given: Evidence) -> dict[str, float]:
    """The paper's rule: mutual information minus that with rotated labels, the median over batches of 16,384 rows.

    The first rotation is the paper's, by the number of rows of the label's value; with `rotations` above 1 further ones
    are drawn by the seed and the controls averaged. Rows must be in random order. Paper: outrank.
    """
    random = np.random.default_rng(given.seed)
    further = random.integers(1, BATCH, given.rotations - 1).tolist()
    scores: dict[str, list[float]] = {view.field: [] for view in given.single}
    for rows, first in pieces(given.store, size=BATCH):
        if len(rows) <= LEFT_OVER and first:
            continue
        labels, _ = checked(given.store.targets, slice(first, first + len(rows)), first, given.label)
        for view in given.single:
            scores[view.field].append(rotated(view.read(rows, first), labels, view.size, (0, *further)))
    return {name: float(np.median(values)) for name, values in scores.items()}


def rotated(codes: Codes, labels: NDArray[np.int64], size: int, turns: Sequence[int]) -> float:
    """Return the rotation-corrected mutual information of one batch, as coded in the paper's package.

    sum over label values c of n_c/n [H(X over rows i + n_c with Y_i = c) - H(X over rows i with Y_i = c)].
    `turns` are added to the rotation n_c; the controls are averaged. The package takes two columns of equal sums for
    one and the same and leaves them uncorrected: a mistake that is not repeated. Paper: outrank.
    """
    n, total = len(codes), 0.0
    for value in (0, 1):
        mine = np.flatnonzero(labels == value)
        inside = entropy(np.bincount(codes[mine], minlength=size))
        controls = [entropy(np.bincount(codes[(mine + len(mine) + turn) % n], minlength=size)) for turn in turns]
        total += len(mine) / n * (float(np.mean(controls)) - inside)
    return total


def holdout(given: Evidence) -> dict[str, float]:
    """What click rates by value, learned on the earlier rows, save in log loss on the later ones: robust to drift."""
    times = given.store.targets.get("time")
    known = np.zeros(0, np.int64) if times is None else np.flatnonzero(~np.isnan(times))
    if times is not None and np.any(back := np.diff(times[known]) < 0):
        at = int(np.flatnonzero(back)[0])
        raise DataError(
            f"row {known[at + 1] + 1}: its time is before that of row {known[at] + 1}; `holdout` learns on the first "
            "rows and measures on the last. Sort the rows by time."
        )
    cut = int(given.store.rows * (1 - given.holdout))
    if not 0 < cut < given.store.rows:
        raise DataError(
            f"holdout {given.holdout:g} of {given.store.rows:,} rows leaves a part without rows; choose another share, "
            "or give more rows."
        )
    before = count(given.store, given.views, label=given.label, stop=cut)
    after = count(given.store, given.views, label=given.label, start=cut)
    if before.clicks in (0, before.total):
        raise DataError(
            f"the first {cut:,} rows, on which `holdout` learns, are of one class; put the rows in the order of time, "
            "or by chance."
        )
    return {name: _saved(before, after, views[0]) for name, views in given.seen.items()}


def _saved(before: Counts, after: Counts, found: Seen) -> float:
    key = found.view.key
    old, new = before.by[key], after.by[key]
    if found.view.kind == "one value":
        value = best_value(before, *old)[1]
        old, new = presence(before, key, value), presence(after, key, value)
    prior = before.clicks / before.total
    rate = (old[1] + SMOOTHING * prior) / (old[0] + SMOOTHING)
    saved = new[1] * np.log(rate / prior) + (new[0] - new[1]) * np.log((1 - rate) / (1 - prior))
    return float(saved.sum() / after.total)


def forest(given: Evidence) -> dict[str, float]:
    """Importances of a random forest on the codes; it needs scikit-learn and takes at most 50,000 rows."""
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise UsageError(
            "score 'forest' needs scikit-learn; install it with: pip install clicksmith[sklearn]"
        ) from error
    numbers = sampled(given.store.rows, FOREST_ROWS, given.seed)
    rows = given.store.take(numbers)
    labels, _ = checked(given.store.targets, numbers, 0, given.label)
    inputs = np.stack([view.read(rows, 0) for view in given.single], 1)
    trees = RandomForestClassifier(100, min_samples_leaf=5, random_state=given.seed % 2**32).fit(inputs, labels)
    names = [view.field for view in given.single]
    return dict(zip(names, trees.feature_importances_.tolist(), strict=True))


METHODS: dict[str, Callable[[Evidence], dict[str, float]]] = {
    "adjusted_mi": adjusted_mi,
    "outrank": outrank,
    "mi": plain_mi,
    "chi2": chi2,
    "permutation": permutation,
    "holdout": holdout,
    "forest": forest,
}
"""By the name that `score` takes."""

UNITS = {"chi2": "standard deviations of chance", "forest": "shares of the forest's importance"}
"""What the numbers of a score are, where they are not nats."""

WEIGHTED = ("adjusted_mi", "mi", "permutation")
"""Methods that know weights of rows."""
