"""Is the difference between two models real? Paired tests on the same rows."""

from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clicksmith.errors import UsageError
from clicksmith.evaluate.bootstrap import resampled
from clicksmith.evaluate.interval import Influence, quantile, two_sided_p
from clicksmith.evaluate.metrics import Metric, metric_named
from clicksmith.evaluate.scored import Floats, Scored, scored

Method = Literal["delta", "bootstrap"]


class Comparison(msgspec.Struct, frozen=True):
    """Model b against model a on the same rows."""

    metric: str
    a: float
    b: float
    effect: float
    """b - a in the metric's own unit; of a metric that is best at 1, by how much b is nearer: |a - 1| - |b - 1|."""
    low: float
    high: float
    """Confidence interval of the effect."""
    p: float
    """Chance of an effect this large if the two were equally good (two-sided)."""
    level: float
    method: str
    rows: int
    b_is_better: bool
    """b has the better value; whether that is more than chance is what `p` and the interval say."""
    relative_improvement: float | None = None
    """RelaImpr in percent, for AUC and GAUC."""

    @property
    def significant(self) -> bool:
        """Whether the interval excludes no difference."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        """One sentence with effect, interval and verdict."""
        word = ("b is better" if self.b_is_better else "a is better") if self.significant else "a tie"
        effect = "b nearer to 1 by" if metric_named(self.metric).best == "one" else "difference"
        return (
            f"{self.metric}: a {self.a:.5f}, b {self.b:.5f}, {effect} {self.effect:+.5f} "
            f"[{self.low:+.5f}, {self.high:+.5f}], p = {self.p:.2g}: {word} on {self.rows} rows"
        )


def compare(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    metric: str = "auc",
    scale: Literal["logits", "probabilities"] = "logits",
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    by_group: bool = False,
    method: Method = "delta",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Return the paired comparison of predictions `a` and `b` of the same rows.

    `delta` is DeLong's test for AUC and its equivalent for the other metrics; `bootstrap` works for every metric.
    With `by_group` the groups are the independent units, not the rows (rows of one user resemble each other).
    """
    _choice(scale, ("logits", "probabilities"), "scale")
    options = {"weights": weights, "groups": groups}
    first = scored(
        labels, logits=a if scale == "logits" else None, probabilities=None if scale == "logits" else a, **options
    )
    second = scored(
        labels, logits=b if scale == "logits" else None, probabilities=None if scale == "logits" else b, **options
    )
    return compare_scored(
        first, second, metric=metric, by_group=by_group, method=method, level=level, resamples=resamples, seed=seed
    )


def compare_scored(
    a: Scored,
    b: Scored,
    *,
    metric: str = "auc",
    by_group: bool = False,
    method: Method = "delta",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Return the paired comparison of two checked predictions; their rows must be the same, in the same order."""
    _choice(method, ("delta", "bootstrap"), "method")
    quantile(level)
    definition = metric_named(metric)
    _same_rows(a, b, grouped=by_group or definition.needs_groups)
    b = replace(b, groups=a.groups)  # the same groups, which may be numbered otherwise; influences go by number
    if by_group and a.groups is None:
        raise UsageError("by_group=True needs groups and none were given; pass groups=.")
    units = a.groups if by_group else None
    if method == "delta":
        values, low, high, p = _delta(a, b, definition, metric, units, level)
    else:
        values, low, high, p = _bootstrap(a, b, definition, by_group or definition.needs_groups, level, resamples, seed)
    return Comparison(
        metric=metric,
        a=values[0],
        b=values[1],
        effect=_effect(definition, *values),
        low=low,
        high=high,
        p=p,
        level=level,
        method=method if method == "delta" else f"bootstrap, {resamples} resamples",
        rows=len(a),
        b_is_better=definition.gain(values[1], values[0]) > 0,
        relative_improvement=_improvement(metric, values),
    )


def relative_improvement(value: float, reference: float) -> float:
    """Return RelaImpr in percent: how much further from guessing (0.5) an AUC is than a reference (DIN, section 6.3).

    >>> round(relative_improvement(0.8698, 0.8624), 2)
    2.04
    """
    if reference == 0.5:
        raise UsageError("RelaImpr is not defined against a reference of exactly 0.5, which is guessing.")
    return ((value - 0.5) / (reference - 0.5) - 1) * 100


def _delta(
    a: Scored, b: Scored, definition: Metric, name: str, units: NDArray[np.int64] | None, level: float
) -> tuple[tuple[float, float], float, float, float]:
    if definition.influence is None:
        raise UsageError(f"'{name}' has no analytic interval; pass method='bootstrap'.")
    one, two = definition.influence(a), definition.influence(b)
    if one.lone:
        raise UsageError(
            f"'{name}' rests on a single {one.lone} of {len(a)} rows, so its difference cannot be tested; "
            "two clicks and two non-clicks are needed at least. Compare on more rows."
        )
    moved = Influence(0.0, _effect_influence(definition, one, two), one.by_group)
    if moved.units(units) < 2:
        raise UsageError(
            f"'{name}' rests on a single {'row' if len(a) < 2 else 'group'}, so its difference cannot be tested; "
            "compare on more rows."
        )
    error = moved.error(units)
    effect, z = _effect(definition, one.value, two.value), quantile(level)
    return (one.value, two.value), effect - z * error, effect + z * error, two_sided_p(effect, error)


def _bootstrap(
    a: Scored, b: Scored, definition: Metric, by_group: bool, level: float, resamples: int, seed: int
) -> tuple[tuple[float, float], float, float, float]:
    effects = resampled(
        a, lambda one, rows, groups: _effect(definition, definition.value(one), definition.value(b.take(rows, groups))),
        by_group=by_group, resamples=resamples, seed=seed,
    )  # fmt: skip
    low, high = np.quantile(effects, [(1 - level) / 2, (1 + level) / 2])
    tail = min(np.count_nonzero(effects <= 0), np.count_nonzero(effects >= 0))
    p = min(1.0, 2 * (tail + 1) / (effects.size + 1))
    return (definition.value(a), definition.value(b)), float(low), float(high), p


def _effect(definition: Metric, a: float, b: float) -> float:
    """Return what is tested: see `Comparison.effect`."""
    return definition.gain(b, a) if definition.best == "one" else b - a


def _effect_influence(definition: Metric, a: Influence, b: Influence) -> Floats:
    """Return the influence of each unit on `_effect`."""
    if definition.best == "one":
        return np.sign(a.value - 1) * a.influence - np.sign(b.value - 1) * b.influence
    return b.influence - a.influence


def _improvement(metric: str, values: tuple[float, float]) -> float | None:
    named = metric in ("auc", "gauc", "gauc_by_clicks") and values[0] != 0.5
    return relative_improvement(values[1], values[0]) if named else None


def _choice(given: str, known: tuple[str, ...], name: str) -> None:
    if given not in known:
        raise UsageError(f"{name}='{given}': choose {' or '.join(known)}.")


def _same_rows(a: Scored, b: Scored, *, grouped: bool) -> None:
    if len(a) != len(b) or not np.array_equal(a.labels, b.labels):
        raise UsageError(
            f"the two predictions are not of the same rows ({len(a)} and {len(b)} rows, labels differ); "
            "a paired test needs the same rows in the same order."
        )
    known: list[tuple[str, NDArray[Any] | None, NDArray[Any] | None]] = [("weights", a.weights, b.weights)]
    known += [("groups", _first_rows(a), _first_rows(b))] if grouped else []
    for what, one, two in known:
        if one is not two and (one is None or two is None or not np.array_equal(one, two)):
            raise UsageError(
                f"the {what} of the two predictions differ; a paired test needs the same rows, weighted and grouped "
                "alike. Fit both models with the same schema."
            )


def _first_rows(rows: Scored) -> NDArray[np.int64] | None:
    """Return for each row the first one of its group [n]: equal however the groups are numbered."""
    if rows.groups is None:
        return None
    _, first, number = np.unique(rows.groups, return_index=True, return_inverse=True)
    return first[number]
