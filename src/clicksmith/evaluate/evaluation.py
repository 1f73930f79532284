"""`evaluate`: all metrics of one set of predictions, with intervals, counts and slices, as one plain value."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.bootstrap import bootstrap
from clicksmith.evaluate.calibration import Bin, reliability
from clicksmith.evaluate.gauc import gauc_of
from clicksmith.evaluate.interval import Estimate, interval
from clicksmith.evaluate.metrics import METRICS, Metric, metric_named, several
from clicksmith.evaluate.scored import Scored, is_missing, scored

SLICE_METRICS = ("auc", "gauc", "logloss", "predicted_over_observed")


class GroupCounts(msgspec.Struct, frozen=True):
    """What GAUC averaged and what it left out."""

    used: int
    dropped: int
    """Groups whose labels are all equal."""
    dropped_rows: int


class Slice(msgspec.Struct, frozen=True):
    """The metrics of the rows where `column` is `value`."""

    column: str
    value: str
    rows: int
    clicks: int
    values: dict[str, Estimate]
    """Only the metrics that are defined on these rows."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is worth on one set of rows. It is plain data: `msgspec.json.encode(metrics)`."""

    rows: int
    clicks: int
    level: float
    """Confidence level of the intervals."""
    values: dict[str, Estimate]
    grouped: bool = False
    """Whether groups were given."""
    groups: GroupCounts | None = None
    reliability: tuple[Bin, ...] = ()
    slices: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()
    """Metrics that are not defined on these rows, and why."""

    def __getitem__(self, name: str) -> float:
        """Return the value of a metric, without its interval."""
        if name in self.values:
            return self.values[name].value
        needs_groups = metric_named(name).needs_groups
        asked = "it needs groups and none were given" if needs_groups and not self.grouped else "it was not asked for"
        why = next((note for note in self.notes if f"'{name}'" in note), asked)
        raise UsageError(f"'{name}' was not computed: {why}")

    @property
    def flat(self) -> dict[str, float]:
        """Name to value: `{"auc": 0.78, "logloss": 0.44, ...}`."""
        return {name: estimate.value for name, estimate in self.values.items()}


def evaluate(
    labels: ArrayLike,
    *,
    logits: ArrayLike | None = None,
    probabilities: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    slices: Mapping[str, ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    by_group: bool = False,
    resamples: int = 0,
) -> Metrics:
    """Return the metrics of predictions, each with its confidence interval.

    Args:
        labels: 0 or 1 a row.
        logits: predictions before the sigmoid (exactly one of `logits` and `probabilities`).
        probabilities: predictions after the sigmoid.
        groups: rows ranked together (GAUC, NDCG), usually the user; integers or texts.
        weights: one weight a row.
        slices: column name to one value a row; the metrics are repeated for each value.
        names: metrics to compute; all that the input allows if None.
        level: of the intervals.
        by_group: treat groups, not rows, as independent in every interval.
        resamples: bootstrap the metrics without an analytic interval (calibration errors) this many times.

    Raises:
        DataError: input that cannot be evaluated, or a metric named in `names` that is not defined on it.
    """
    rows = scored(labels, logits=logits, probabilities=probabilities, weights=weights, groups=groups)
    return evaluate_scored(
        rows, slices=slices, names=names, level=level, by_group=by_group, resamples=resamples
    )  # fmt: skip


def evaluate_scored(
    rows: Scored,
    *,
    slices: Mapping[str, ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    by_group: bool = False,
    resamples: int = 0,
) -> Metrics:
    """Return the metrics of checked rows; see `evaluate`."""
    if by_group and rows.groups is None:
        raise UsageError("by_group=True needs groups and none were given; pass groups=.")
    allowed = [n for n, m in METRICS.items() if rows.groups is not None or not m.needs_groups]
    chosen = allowed if names is None else several(names)
    values, notes = _values(rows, chosen, level, by_group=by_group, resamples=resamples, strict=names is not None)
    counts = None
    if "gauc" in values:
        result = gauc_of(rows)
        counts = GroupCounts(result.groups, result.dropped, result.dropped_rows)
    return Metrics(
        rows=len(rows),
        clicks=rows.positives,
        level=level,
        values=values,
        grouped=rows.groups is not None,
        groups=counts,
        reliability=reliability(rows, level=level),
        slices=tuple(
            s for column, of in (slices or {}).items() for s in sliced(rows, column, of, level, by_group=by_group)
        ),
        notes=tuple(notes),
    )


def estimate(
    rows: Scored, metric: Metric, level: float = 0.95, *, by_group: bool = False, resamples: int = 0
) -> Estimate:
    """Return one metric with its interval: analytic if there is one, else the bootstrap's if `resamples` is given."""
    if metric.influence is not None:
        return interval(metric.influence(rows), level, metric.scale, rows.groups if by_group else None)
    if resamples:
        return bootstrap(metric.value, rows, by_group=by_group, resamples=resamples, level=level)
    return Estimate(metric.value(rows), method="no interval asked for")


def _values(
    rows: Scored, names: Sequence[str], level: float, *, by_group: bool, resamples: int, strict: bool
) -> tuple[dict[str, Estimate], list[str]]:
    values: dict[str, Estimate] = {}
    notes: list[str] = []
    for name in names:
        try:
            values[name] = estimate(rows, metric_named(name), level, by_group=by_group, resamples=resamples)
        except DataError as error:
            if strict:
                raise
            notes.append(str(error))
    return values, list(dict.fromkeys(notes))


def sliced(
    rows: Scored, column: str, of: ArrayLike, level: float, *, by_group: bool = False, most: int = 50
) -> list[Slice]:
    """Return the metrics by value of a column, largest first; beyond `most` values the rest is one slice."""
    array: NDArray[Any] = np.asarray(of)
    if array.shape != (len(rows),):
        raise DataError(f"slices, column '{column}': {array.size} values for {len(rows)} rows; pass one value a row.")
    if array.dtype == object:
        array = np.array(["" if is_missing(v) else str(v) for v in array])
    values, codes, counts = np.unique(array, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    titles = [str(values[i]) for i in order[:most]]
    if order.size > most:
        titles.append(f"({order.size - most} other values)")
    number = np.minimum(rank[codes], most)
    edges = np.cumsum(np.bincount(number))[:-1]
    parts = np.split(np.argsort(number, kind="stable"), edges)
    names = [n for n in SLICE_METRICS if rows.groups is not None or not METRICS[n].needs_groups]
    found: list[Slice] = []
    for title, numbers in zip(titles, parts, strict=True):
        part = rows.take(numbers)
        found_values, _ = _values(part, names, level, by_group=by_group, resamples=0, strict=False)
        found.append(Slice(column, title, len(part), part.positives, found_values))
    return found
