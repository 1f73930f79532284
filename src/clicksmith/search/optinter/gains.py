"""What a pair of fields says beyond its two fields, from counts alone: to choose candidates before any training.

Not in the paper. Half of the training rows fit, the other half judges, both ways round. The two fields are added up as
smoothed log-odds; what is left of a row, `r = y - p`, is explained by the pair:

    memorise:   one shift per pair of values, a Newton step  sum r / (sum p (1 - p) + prior)
    factorise:  one product u_a v_b, by alternating such steps for u and for v

A gain is the log-likelihood won per row on the judging half, a `z` the same in standard errors. Of several labels it is
the mean of what each wins.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicksmith.batch.split import split_by_group
from clicksmith.encode.crosses import PIECE, buckets_of
from clicksmith.encode.layout import PADDING
from clicksmith.encode.picked import Picked
from clicksmith.encode.store import Store
from clicksmith.errors import DataError

Floats = NDArray[np.float64]
PRIOR = 2.0
"""Weight of "no shift", in units of p (1 - p)."""
SLOTS = 1 << 22
"""Keys are counted in at most so many hashed cells."""
ROUNDS, STARTS = 8, 3


@dataclass(frozen=True, slots=True)
class Gain:
    """What a pair says, as memorised and as factorised."""

    pair: tuple[str, str]
    memorise: float
    factorise: float
    memorise_z: float
    factorise_z: float

    @property
    def best(self) -> float:
        """The larger gain."""
        return max(self.memorise, self.factorise)


def gains(
    store: Store,
    pairs: tuple[tuple[str, str], ...],
    *,
    group: str | None = None,
    rows: int = 1 << 21,
    counted: Callable[[int], None] = lambda _: None,
) -> tuple[Gain, ...]:
    """Return the gain of each pair, from at most `rows` training rows; `counted` is told how many pairs are done.

    Of more rows one is drawn by chance from each of so many stretches of equal length: rows in order are no obstacle.
    With the name of the `group` column no group is in both halves. Raises DataError: there are too few groups.
    """
    at = {c.name: i for i, c in enumerate(store.layout.ids)}
    if store.rows > rows:
        drawn = (np.arange(rows) + np.random.default_rng(0).random(rows)) * (store.rows / rows)
        store = Picked(store, np.unique(drawn.astype(np.int64)))
    total = store.rows
    ids = np.concatenate([store.slice(s, min(s + PIECE, total)).ids for s in range(0, total, PIECE)])
    ids = np.maximum(ids, PADDING)  # values that a Plan dropped are as those that are missing
    targets = store.targets
    labels = np.array(targets["labels"][:total].T, np.float64, order="C")
    weight = np.asarray(targets["weight"][:total], np.float64) if "weight" in targets else np.ones(total)
    weight = weight / weight.mean()
    half = _halves(store, group)
    names = {name for pair in pairs for name in pair}
    odds = [{name: _odds(ids[:, at[name]], y, weight, half) for name in names} for y in labels]
    found: list[Gain] = []
    for pair in pairs:
        a, b = (ids[:, at[name]].astype(np.int64) for name in pair)
        base = int(b.max(initial=0)) + 1
        keys = a * base + b
        cells = (int(a.max(initial=0)) + 1) * base
        if cells > SLOTS:
            cells = 1 << min(22, max(10, int(4 * total).bit_length()))
            keys = buckets_of(keys, cells, 0)
        won: list[Floats] = []
        for side in (0, 1):
            fit, judge = half == bool(side), half != bool(side)
            each: list[tuple[Floats, Floats]] = []
            for y, own in zip(labels, odds, strict=True):
                rate = _rate(y[fit], weight[fit])
                z = np.log(rate / (1 - rate)) + own[pair[0]][side][a] + own[pair[1]][side][b]
                p = 1 / (1 + np.exp(-z))
                r, h = weight * (y - p), weight * p * (1 - p)
                shift = _step(keys, r, h, fit, cells)[keys]
                product = _product(a, b, r, h, fit)
                each.append((_won(y, z, shift, weight, judge), _won(y, z, product, weight, judge)))
            won.append(np.mean(each, 0))
        m, f = np.concatenate(won, 1)
        found.append(Gain(pair, float(m.mean()), float(f.mean()), _z(m), _z(f)))
        counted(len(found))
    return tuple(found)


def _halves(store: Store, group: str | None) -> NDArray[np.bool_]:
    """Return which rows are of the first half, by chance; whole groups, if `group` names their column."""
    if group is None:
        return np.random.default_rng(0).permutation(store.rows) % 2 == 0
    groups, half = store.targets["group"], np.zeros(store.rows, np.bool_)
    half[split_by_group(groups, shares={"first": 0.5, "second": 0.5})["first"]] = True
    if half.all() or not half.any():
        raise DataError(
            f"the {store.rows} training rows are of {len(np.unique(groups))} groups of '{group}', too few or too "
            "uneven for two halves of whole groups, of which one judges what the other says of pairs. Give rows of "
            "more groups, or use --split random."
        )
    return half


def _odds(ids: NDArray[np.int32], y: Floats, weight: Floats, half: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the smoothed log-odds of each value against the rate, fitted on either half."""
    found: list[Floats] = []
    for side in (0, 1):
        fit = half == bool(side)
        n = np.bincount(ids[fit], weight[fit], minlength=int(ids.max(initial=0)) + 1)
        c = np.bincount(ids[fit], (weight * y)[fit], minlength=len(n))
        rate = _rate(y[fit], weight[fit])
        smooth = (c + 10 * rate) / (n + 10)
        found.append(np.log(smooth / (1 - smooth)) - np.log(rate / (1 - rate)))
    return found[0], found[1]


def _rate(y: Floats, weight: Floats) -> float:
    """Return the click rate, never 0 or 1: a half may have no click at all."""
    return float(((weight * y).sum() + 0.5) / (weight.sum() + 1))


def _step(keys: NDArray[np.int64], r: Floats, h: Floats, fit: NDArray[np.bool_], cells: int) -> Floats:
    """Return the Newton step of each key."""
    up = np.bincount(keys[fit], r[fit], minlength=cells)
    return up / (np.bincount(keys[fit], h[fit], minlength=cells) + PRIOR)


def _product(a: NDArray[np.int64], b: NDArray[np.int64], r: Floats, h: Floats, fit: NDArray[np.bool_]) -> Floats:
    """Return `u_a v_b` of each row, by alternating least squares on the fitting half; the best of a few beginnings."""
    size = (int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1)
    a_, b_, r_, h_ = a[fit], b[fit], r[fit], h[fit]
    best, found = -np.inf, np.zeros(len(a))
    for start in range(STARTS):
        v = np.random.default_rng(start).normal(size=size[1])
        u = np.zeros(size[0])
        for _ in range(ROUNDS):
            v /= np.sqrt(np.mean(v[b_] ** 2)) + 1e-12
            u = _side(a_, v[b_], r_, h_, size[0])
            v = _side(b_, u[a_] / (np.sqrt(np.mean(u[a_] ** 2)) + 1e-12), r_, h_, size[1])
        v /= np.sqrt(np.mean(v[b_] ** 2)) + 1e-12
        u = _side(a_, v[b_], r_, h_, size[0])
        shift = u[a_] * v[b_]
        won = float((r_ * shift - h_ * shift**2 / 2).sum())
        if won > best:
            best, found = won, u[a] * v[b]
    return found


def _side(ids: NDArray[np.int64], x: Floats, r: Floats, h: Floats, size: int) -> Floats:
    """Return one side's least-squares factors while the other side's, `x`, stay."""
    return np.bincount(ids, r * x, minlength=size) / (np.bincount(ids, h * x * x, minlength=size) + PRIOR)


def _won(y: Floats, z: Floats, shift: Floats, weight: Floats, judge: NDArray[np.bool_]) -> Floats:
    """Return the log-likelihood, times its weight, that a shift wins on each judging row."""
    before, after, y = z[judge], (z + np.clip(shift, -3, 3))[judge], y[judge]
    return weight[judge] * (y * (after - before) - np.logaddexp(0, after) + np.logaddexp(0, before))


def _z(won: Floats) -> float:
    return float(won.mean() / (won.std() / np.sqrt(len(won)) + 1e-12))
