"""What the counts of a view say: mutual information beyond chance, and how surely it is not chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.store import Store
from clicksmith.rank.counts import Counts, Vector, count
from clicksmith.rank.mutual import Null, NullOfLabel, mutual_information
from clicksmith.rank.views import View

PERMUTATIONS = 20
"""Permutations of the label where the null has no closed form: weighted rows, and the baseline of that name."""

NullOf = Callable[[str, Vector, Vector], Null]
"""Returns the null of a view, given its key, rows and clicks by value."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A field through one view.

    tried: how many tables the best was chosen from; value: the chosen value of a "one value" view
    """

    view: View
    table: tuple[Vector, Vector]
    plain: float
    null: Null
    tried: int = 1
    value: int | None = None

    @property
    def information(self) -> float:
        """Mutual information beyond chance in nats; 0 on average for noise, also where it is the best of many."""
        return self.plain - (self.null.mean if self.tried == 1 else self.null.at(_best_of(self.tried)))

    @property
    def z(self) -> float:
        """The normal deviate of the plain mutual information, corrected for the tables it was chosen from."""
        return chosen_from(self.null.deviate(self.plain), self.tried)


def seen(counts: Counts, views: Sequence[View], null_of: NullOf) -> dict[str, list[Seen]]:
    """Return every field's views, the most certain first."""
    found: dict[str, list[Seen]] = {}
    for view in views:
        rows, clicks = counts.by[view.key]
        tried, value = 1, None
        if view.kind == "one value":
            tried, value = best_value(counts, rows, clicks)
            rows, clicks = presence(counts, view.key, value)
        plain = mutual_information(rows, clicks)
        null = null_of(view.key, rows, clicks)
        found.setdefault(view.field, []).append(Seen(view, (rows, clicks), plain, null, tried, value))
    return {name: sorted(several, key=lambda s: -s.z) for name, several in found.items()}


def best_value(counts: Counts, rows: Vector, clicks: Vector) -> tuple[int, int]:
    """Return how many values there are, and the one whose presence tells most of the label."""
    there = np.flatnonzero((rows > 0) & (rows < counts.total))
    if not len(there):
        return 1, 0
    told = (_terms(rows, clicks, counts) + _terms(counts.total - rows, counts.clicks - clicks, counts))[there]
    return len(there), int(there[np.argmax(told)])


def presence(counts: Counts, key: str, value: int) -> tuple[Vector, Vector]:
    """Return rows and clicks without and with one value."""
    rows, clicks = counts.by[key]
    kind = rows.dtype
    with_rows, with_clicks = rows[value], clicks[value]
    pair = (np.array([counts.total - with_rows, with_rows]), np.array([counts.clicks - with_clicks, with_clicks]))
    return pair[0].astype(kind), pair[1].astype(kind)


def _terms(rows: Vector, clicks: Vector, counts: Counts) -> NDArray[np.float64]:
    """Return what a value with these counts adds to the mutual information, in units of rows: [values]."""
    p = counts.clicks / counts.total
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(clicks > 0, clicks * np.log(clicks / (rows * p)), 0.0)
        down = np.where(rows > clicks, (rows - clicks) * np.log((rows - clicks) / (rows * (1 - p))), 0.0)
    return up + down


def exact_nulls(counts: Counts) -> NullOf:
    """Return the nulls of unweighted counts, exact."""
    label = NullOfLabel(counts.rows, int(counts.clicks))
    label.prepare([rows for rows, _ in counts.by.values()])
    return lambda key, rows, clicks: label.of(rows)  # noqa: ARG005


def drawn_nulls(counts: Counts, seed: int) -> NullOf:
    """Return nulls from random permutations of the label, drawn from the counts: no row is read again."""

    def null_of(key: str, rows: Vector, clicks: Vector) -> Null:  # noqa: ARG001
        random, there = np.random.default_rng([seed, _number(key)]), rows[rows > 0]
        draws = random.multivariate_hypergeometric(there, int(counts.clicks), PERMUTATIONS, method="marginals")
        return _null_of([mutual_information(there, drawn) for drawn in draws])

    return null_of


def shuffled_nulls(store: Store, views: Sequence[View], counts: Counts, label: int, seed: int) -> NullOf:
    """Return nulls from permutations of labels and weights over the rows: one pass over the store for each."""
    kept: dict[str, list[float]] = {view.key: [] for view in views}
    for draw in range(PERMUTATIONS):
        order = np.random.default_rng([seed, draw]).permutation(store.rows)
        shuffled = count(store, views, label=label, order=order)
        for view in views:
            table = shuffled.by[view.key]
            if view.kind == "one value":
                table = presence(shuffled, view.key, best_value(counts, *counts.by[view.key])[1])
            kept[view.key].append(mutual_information(*table))
    nulls = {key: _null_of(values) for key, values in kept.items()}
    return lambda key, rows, clicks: nulls[key]  # noqa: ARG005


def _null_of(values: Sequence[float]) -> Null:
    return Null(float(np.mean(values)), float(np.var(values, ddof=1)))


def _number(key: str) -> int:
    return int.from_bytes(key.encode(), "little") % (1 << 63)


def chosen_from(z: float, tried: int) -> float:
    """Return the deviate of the best of `tried` tables: its probability times their number.

    >>> round(chosen_from(3.0, 2), 2), round(chosen_from(40.0, 1000), 1), chosen_from(0.0, 1)
    (2.78, 39.8, 0.0)
    """
    if tried == 1:
        return z
    if z > 8:  # the tail is as exp(-z^2 / 2)
        return math.sqrt(z * z - 2 * math.log(tried)) if z * z > 2 * math.log(tried) else 0.0
    chance = -math.expm1(tried * math.log1p(-min(probability(z), 1 - 1e-16)))
    return -NormalDist().inv_cdf(min(max(chance, 1e-300), 1 - 1e-16))


def probability(z: float) -> float:
    """Return the probability that noise has a deviate of z or more."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def false_discovery(deviates: Mapping[str, float]) -> dict[str, float]:
    """Return each field's q: the share of noise among the fields that are at least as certain (Benjamini-Hochberg)."""
    names = sorted(deviates, key=lambda name: -deviates[name])
    found: dict[str, float] = {}
    least = 1.0
    for place in range(len(names), 0, -1):
        least = min(least, probability(deviates[names[place - 1]]) * len(names) / place)
        found[names[place - 1]] = least
    return found


def _best_of(tried: int) -> float:
    """Return the deviate of the mean of the best of `tried` noisy tables, about: that of Gumbel's distribution.

    >>> round(_best_of(1000), 2)
    3.26
    """
    return -NormalDist().inv_cdf(math.exp(-0.5772) / tried)
