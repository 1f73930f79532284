"""Real or noise: which models differ by more than other test rows or other seeds would explain.

A model is judged by the mean AUC of its seeds, each seed's predictions paired with the other model's on the same test
rows. (Averaging the predictions of seeds first would judge an ensemble, which scores higher than what it is made of.)
The variance of a difference has two sources, added up:

- test rows: DeLong's, of the seeds' mean influence of each row, paired (Biometrics 1988). Rows of one user resemble
  each other, so where rows have groups it is the influences of whole groups, added up, that are independent
  (Obuchowski, Biometrics 1997);
- seeds: s^2 / n of each model. A model with one seed gets the pooled variance of the others.

The sum is slightly too large, since some of the spread between seeds is itself due to the test rows: ties are declared
a little too often, never too rarely. Student's t with Welch and Satterthwaite's degrees of freedom allows for variances
estimated from few seeds or groups, Holm's correction for the number of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.evaluate.auc import auc_influence, ordered_bits, run_starts
from clicksmith.evaluate.interval import quantile
from clicksmith.evaluate.scored import Floats, Scores, scored

Labels = NDArray[np.uint8]
Units = NDArray[np.int64]
"""The number of each row's group, from 0 [rows]."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One model in the ranking."""

    model: str
    rank: int
    """Of its group: neighbours by AUC of which no two differ significantly; counts the models above the group."""
    best: int
    """The ranks that the differences leave open begin here: after the models that are significantly better,"""
    worst: int
    """and end here: before those that are significantly worse. Wide where few rows or seeds tell little."""
    seeds: int
    auc: float
    """Mean over seeds."""
    sd: float | None
    """Over seeds; None for one seed."""
    low: float
    high: float
    """Interval of the mean over test rows and seeds."""
    tied: tuple[str, ...] = ()
    """Models from which it does not differ significantly."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Model b against model a."""

    a: str
    b: str
    effect: float
    """AUC of b minus AUC of a, each the mean over seeds."""
    low: float
    high: float
    """Interval of the effect, not corrected for the number of pairs."""
    rows_error: float
    """Standard error due to test rows: DeLong's, of whole groups where rows have groups."""
    seeds_error: float
    """Standard error due to seeds."""
    p: float
    holm: float
    """p corrected for the number of pairs."""
    bootstrap: tuple[float, float] | None = None
    """Interval of the effect by the paired bootstrap of rows and seeds."""
    bootstrap_p: float | None = None
    significant: bool


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Models by mean AUC, and every pair."""

    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    level: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Scores:
    """What is known of the models, in one order.

    Shape (m models): aucs: one array a model [seeds]; gram: [m, m] products of mean influences of rows or groups
    """

    names: tuple[str, ...]
    aucs: tuple[Floats, ...]
    gram: Floats
    variances: Floats
    """Of the AUC of one seed [m]."""
    freedom: Floats
    """Degrees of freedom of `variances` [m]."""
    rows_freedom: float
    """Of `gram`: one less than there are groups; without groups infinite, rows are many."""

    @property
    def means(self) -> Floats:
        return np.array([float(values.mean()) for values in self.aucs])

    @property
    def seeds(self) -> NDArray[np.int64]:
        return np.array([values.size for values in self.aucs])


def rank(
    labels: Labels,
    predictions: Mapping[str, Sequence[Scores]],
    *,
    groups: NDArray[np.integer[Any]] | None = None,
    level: float = 0.95,
    resamples: int = 0,
    seed: int = 0,
) -> Ranking:
    """Return which models are better than which, from predictions of the same test rows.

    Paper: bars, whose tables rank single seeds.

    Args:
        labels: 0 or 1 a row [rows].
        predictions: model to one array of logits or probabilities per seed, each [rows].
        groups: whose row each is [rows]; rows of one group may depend on each other. None: no two rows do.
        level: of the intervals; 1 - level is the chance that any tie of all pairs is declared a difference.
        resamples: of the paired bootstrap, a second opinion without formulas; 0 leaves it out.

    Raises:
        UsageError: there is no model, or one without predictions.
    """
    if not predictions or not all(predictions.values()):
        raise UsageError("there is nothing to rank: every model needs the predictions of at least one seed.")
    quantile(level)
    if resamples < 0:
        raise UsageError(f"resamples is {resamples}; it must be 0 or more.")
    unit, notes = _units(groups)
    known = _scores(labels, predictions, unit)
    drawn = _bootstrap(labels, predictions, unit, resamples, seed) if resamples else None
    raw = [_pair(known, i, j, level) for i, j in combinations(range(len(known.names)), 2)]
    corrected = holm([pair.p for pair in raw])
    pairs = [
        msgspec.structs.replace(pair, holm=p, significant=p < 1 - level, **_second(pair, drawn, level))
        for pair, p in zip(raw, corrected, strict=True)
    ]
    return Ranking(
        standings=_standings(known, pairs, level), pairs=tuple(pairs), level=level, notes=(*notes, *_notes(known))
    )


def shown_p(p: float) -> str:
    """Return a p-value in two digits, and of one below 0.0001 only that it is: what is rounded to 0 never is 0.

    >>> shown_p(0.0312), shown_p(3e-9)
    ('0.031', '< 0.0001')
    """
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, Scandinavian Journal of Statistics 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected, running = [0.0] * len(values), 0.0
    for done, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        running = max(running, min(1.0, (len(values) - done) * values[i]))
        corrected[i] = running
    return corrected


def student_p(t: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t, by Wallace's normal approximation (Ann. Math. Stat. 1959)."""
    if not np.isfinite(t):
        return 0.0
    z = abs(t) if np.isinf(freedom) else _bend(freedom) * sqrt(freedom * log(1 + t * t / freedom))
    return float(2 * NormalDist().cdf(-z))


def student_quantile(level: float, freedom: float) -> float:
    """Return t such that Student's variable lies within +-t with probability `level`; the inverse of `student_p`."""
    z = quantile(level)
    if np.isinf(freedom):
        return z
    return sqrt(freedom * (exp((z / _bend(freedom)) ** 2 / freedom) - 1))


def _bend(freedom: float) -> float:
    return (8 * freedom + 1) / (8 * freedom + 3)


def _units(groups: NDArray[np.integer[Any]] | None) -> tuple[Units | None, tuple[str, ...]]:
    """Return the groups numbered from 0, None if every row stands for itself, and what is to be said of that."""
    if groups is None:
        return None, ()
    unit = np.unique(groups, return_inverse=True)[1]
    if unit.any():
        return unit, ()
    return None, ("all test rows are of one group: they are taken as independent, and nothing is known of others.",)


def _scores(labels: Labels, predictions: Mapping[str, Sequence[Scores]], unit: Units | None) -> _Scores:
    aucs: list[Floats] = []
    independent = len(labels) if unit is None else int(unit.max()) + 1
    influences = np.zeros((len(predictions), independent))
    for i, seeds in enumerate(predictions.values()):
        found = [auc_influence(scored(labels, logits=one)) for one in seeds]
        aucs.append(np.array([one.value for one in found]))
        mean = np.mean([one.influence for one in found], axis=0)
        influences[i] = mean if unit is None else np.bincount(unit, mean) * sqrt(independent / (independent - 1))
    spread = np.array([values.var(ddof=1) if values.size > 1 else np.nan for values in aucs])
    freedom = np.array([values.size - 1.0 for values in aucs])
    several = freedom > 0
    if several.any():
        pooled = float((spread[several] * freedom[several]).sum() / freedom[several].sum())
        spread, freedom = np.where(several, spread, pooled), np.where(several, freedom, freedom[several].sum())
    return _Scores(
        tuple(predictions), tuple(aucs), influences @ influences.T, np.nan_to_num(spread), freedom,
        float("inf") if unit is None else independent - 1.0,
    )  # fmt: skip


def _pair(known: _Scores, i: int, j: int, level: float) -> Pair:
    """Return models i and j compared, the correction and the bootstrap still to come."""
    effect = float(known.means[j] - known.means[i])
    rows = max(float(known.gram[i, i] + known.gram[j, j] - 2 * known.gram[i, j]), 0.0)
    parts = [(known.variances[k] / known.seeds[k], known.freedom[k]) for k in (i, j)]
    error, freedom = _total(rows, known.rows_freedom, parts)
    p = (1.0 if effect == 0 else 0.0) if error == 0 else student_p(effect / error, freedom)
    margin = student_quantile(level, freedom) * error
    return Pair(
        a=known.names[i],
        b=known.names[j],
        effect=effect,
        low=effect - margin,
        high=effect + margin,
        rows_error=sqrt(rows),
        seeds_error=sqrt(sum(variance for variance, _ in parts)),
        p=p,
        holm=p,
        significant=False,
    )


def _total(rows: float, rows_freedom: float, parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the standard error of rows and seeds together, and its degrees of freedom."""
    total = rows + sum(variance for variance, _ in parts)
    spent = sum(variance**2 / freedom for variance, freedom in [*parts, (rows, rows_freedom)] if variance > 0)
    return sqrt(total), total**2 / spent if spent > 0 else float("inf")


def _standings(known: _Scores, pairs: Sequence[Pair], level: float) -> tuple[Standing, ...]:
    """Return models by mean AUC, cut into rank groups of neighbours.

    Being tied is not transitive: a model of few seeds may be tied with the first and lie far below others that are not.
    A group ends before the first model that differs from one in it, so that no model stands above one of higher AUC;
    the ranks that a model could have instead stand beside (Mogstad et al., Review of Economic Studies 2024).
    """
    above: dict[str, set[str]] = {name: set() for name in known.names}
    """Model to those that are significantly better."""
    for pair in pairs:
        if pair.significant:
            better, worse = (pair.b, pair.a) if pair.effect > 0 else (pair.a, pair.b)
            above[worse].add(better)
    found: list[Standing] = []
    for i in sorted(range(len(known.names)), key=lambda i: -known.means[i]):
        name, values, mean = known.names[i], known.aucs[i], float(known.means[i])
        seeds = (known.variances[i] / values.size, known.freedom[i])
        error, freedom = _total(float(known.gram[i, i]), known.rows_freedom, [seeds])
        margin = student_quantile(level, freedom) * error
        below = {other for other, better in above.items() if name in better}
        group = {one.model for one in found if one.rank == found[-1].rank}
        found.append(
            Standing(
                model=name,
                rank=found[-1].rank if group.isdisjoint(above[name]) and found else len(found) + 1,
                best=1 + len(above[name]),
                worst=len(known.names) - len(below),
                seeds=values.size,
                auc=mean,
                sd=float(values.std(ddof=1)) if values.size > 1 else None,
                low=max(0.0, mean - margin),
                high=min(1.0, mean + margin),
                tied=tuple(o for o in known.names if o != name and o not in above[name] | below),
            )
        )
    return tuple(found)


def _notes(known: _Scores) -> tuple[str, ...]:
    few = [name for name, count in zip(known.names, known.seeds, strict=True) if count == 1]
    if len(few) == len(known.names):
        return (
            "one seed a model: how much the seed matters is not known, so the differences are those of these weights, "
            "not of the models. Run more seeds.",
        )
    return (f"one seed: {', '.join(few)}; the spread of the other models is taken for theirs.",) if few else ()


def _bootstrap(
    labels: Labels, predictions: Mapping[str, Sequence[Scores]], unit: Units | None, resamples: int, seed: int
) -> dict[str, Floats]:
    """Return model to its mean AUC [resamples], rows and seeds drawn again each time, the same rows for all models.

    Where rows have groups, whole groups are drawn.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    sorted_rows = {name: [_Sorted.of(labels, one) for one in seeds] for name, seeds in predictions.items()}
    found = {name: np.empty(resamples) for name in predictions}
    for k in range(resamples):
        counts = _drawn(labels, unit, random)
        for name, seeds in sorted_rows.items():
            values = np.array([one.auc(counts) for one in seeds])
            drawn = values[random.integers(0, values.size, values.size)]
            widen = sqrt(values.size / max(values.size - 1, 1))  # a resample of n varies as n - 1 do
            found[name][k] = values.mean() + (drawn.mean() - values.mean()) * widen
    return found


def _drawn(labels: Labels, unit: Units | None, random: np.random.Generator) -> Floats:
    """Return how often a resample has each row [rows]; one that has no click, or nothing else, is drawn again."""
    independent = len(labels) if unit is None else int(unit.max()) + 1
    while True:
        counts = np.bincount(random.integers(0, independent, independent), minlength=independent).astype(np.float64)
        rows = counts if unit is None else counts[unit]
        if 0 < rows @ labels < rows.sum():
            return rows


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Rows in the order of one prediction, so that the AUC of a resample needs no sort."""

    order: NDArray[np.int64]
    positive: NDArray[np.bool_]
    first: NDArray[np.int64]

    @staticmethod
    def of(labels: Labels, scores: Scores) -> "_Sorted":
        bits = ordered_bits(scores.astype(np.float32))
        order = np.argsort(bits)
        return _Sorted(order, labels[order] == 1, run_starts(bits[order]))

    def auc(self, counts: Floats) -> float:
        """Return the AUC when row i occurs counts[i] times."""
        weights = counts[self.order]
        ups = np.add.reduceat(np.where(self.positive, weights, 0.0), self.first)
        downs = np.add.reduceat(np.where(self.positive, 0.0, weights), self.first)
        return float(np.dot(ups, np.cumsum(downs) - 0.5 * downs) / (ups.sum() * downs.sum()))


def _second(pair: Pair, drawn: Mapping[str, Floats] | None, level: float) -> dict[str, object]:
    """Return what the bootstrap says of a pair."""
    if drawn is None:
        return {}
    effects = drawn[pair.b] - drawn[pair.a]
    low, high = np.quantile(effects, [(1 - level) / 2, (1 + level) / 2])
    tail = min(np.count_nonzero(effects <= 0), np.count_nonzero(effects >= 0))
    return {
        "bootstrap": (float(low), float(high)),
        "bootstrap_p": min(1.0, 2 * (tail + 1) / (effects.size + 1)),
    }
