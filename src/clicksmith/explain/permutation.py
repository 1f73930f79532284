"""Permutation importance: how much worse a model gets when one field's values are shuffled between rows.

It knows nothing of models: it needs a function from encoded rows to logits. A field that the model does not use loses
exactly nothing. Fields that stand in for each other each look unimportant; shuffle them together, as one tuple.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.crosses import Cross, cross_ids
from clicksmith.encode.layout import Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.errors import DataError, UnknownNameError, UsageError
from clicksmith.evaluate.interval import Influence, quantile
from clicksmith.evaluate.metrics import Metric, metric_named
from clicksmith.evaluate.scored import Scored, scored
from clicksmith.names import unknown

Score = Callable[[EncodedRows], NDArray[Any]]
"""Encoded rows to logits, [rows] or [rows, outputs]."""


class Rows(Protocol):
    """What is needed of a store."""

    @property
    def layout(self) -> Layout:
        """What the columns are."""
        ...

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def take(self, row_numbers: NDArray[np.int64]) -> EncodedRows:
        """Return the rows of those numbers, in that order."""
        ...


class Importance(msgspec.Struct, frozen=True):
    """How much worse the metric gets without a field's information."""

    field: str
    """Names joined by ' + ' where several fields were shuffled together."""
    drop: float
    """Mean over the shuffles; positive means the field helps, whichever way the metric points."""
    low: float
    high: float
    """Confidence interval over rows and shuffles."""
    shuffles: tuple[float, ...]
    """The drop of each shuffle."""


class Importances(msgspec.Struct, frozen=True):
    """The fields, most important first."""

    metric: str
    base: float
    """The metric without shuffling."""
    rows: int
    level: float
    fields: tuple[Importance, ...]


def permutation_importance(
    score: Score,
    store: Rows,
    *,
    metric: str = "auc",
    fields: Sequence[str | tuple[str, ...]] | None = None,
    crosses: Sequence[Cross] = (),
    repeats: int = 5,
    max_rows: int = 100_000,
    batch_size: int = 8192,
    output: int = 0,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Importances:
    """Shuffle one field at a time and return how much the metric drops.

    Args:
        score: the model.
        store: labelled rows it was not trained on.
        metric: any metric with an analytic interval ("auc", "logloss", "gauc", ...).
        fields: names, or tuples of names shuffled together; every field, history and the domain if None.
        crosses: of the encoder, whose columns are made anew of what is shuffled, and are no fields themselves.
        repeats: shuffles a field.
        max_rows: rows used at most, drawn at random.
        batch_size: rows scored at once; memory does not grow with `max_rows`.
        output: which logit and label of a model with several.
        level: of the intervals.
        seed: of the sample and the shuffles.
        progress: called with the name of each field before it is shuffled.

    Raises:
        UnknownNameError: a field is not in the layout.
        DataError: rows without labels, or on which the metric is not defined.
    """
    definition = metric_named(metric)
    if repeats < 1 or max_rows < 2:
        raise UsageError(f"repeats={repeats}, max_rows={max_rows}: at least one shuffle of two rows is needed.")
    if definition.influence is None:
        raise UsageError(f"'{metric}' has no analytic interval; choose 'auc' or 'logloss', for example.")
    random = np.random.Generator(np.random.PCG64(seed))
    numbers = _sample(store.rows, max_rows, random)
    trial = _Trial(score, store, numbers, batch_size, output, crosses)
    base = trial.scored(trial.logits(()))
    before = definition.influence(base)
    found: list[Importance] = []
    for names in _units(store.layout, fields, crosses):
        if progress is not None:
            progress(" + ".join(names))
        orders = [random.permutation(numbers.size) for _ in range(repeats)]
        after = [definition.influence(base.with_scores(trial.logits(names, order))) for order in orders]
        found.append(_importance(names, definition, before, after, level))
    found.sort(key=lambda i: -i.drop)
    return Importances(metric, before.value, numbers.size, level, tuple(found))


def field_names(layout: Layout) -> tuple[str, ...]:
    """Return everything that can be shuffled: fields in the schema's order, then histories, then the domain."""
    columns = (*layout.ids, *layout.numeric, *layout.bags, *layout.vectors)
    fields = layout.order or tuple(column.name for column in columns)
    domain = ("domain",) if layout.domains and "domain" not in fields else ()
    return (*fields, *(history.name for history in layout.histories), *domain)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Scores the sampled rows, with some fields taken from other rows of the sample."""

    score: Score
    store: Rows
    numbers: NDArray[np.int64]
    batch_size: int
    output: int
    crosses: Sequence[Cross]

    def logits(self, names: tuple[str, ...], order: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        parts: list[NDArray[np.float32]] = []
        for start in range(0, self.numbers.size, self.batch_size):
            rows = self.store.take(self.numbers[start : start + self.batch_size])
            if order is not None:
                donors = self.store.take(self.numbers[order[start : start + self.batch_size]])
                rows = shuffled(rows, donors, self.store.layout, names, self.crosses)
            out = np.asarray(self.score(rows), np.float32)
            parts.append(out[:, self.output] if out.ndim == 2 else out)
        return np.concatenate(parts)

    def scored(self, logits: NDArray[np.float32]) -> Scored:
        labels, groups, weights = zip(*self._targets(), strict=True)
        joined = [None if part[0] is None else np.concatenate(part) for part in (groups, weights)]
        return scored(np.concatenate(labels), logits=logits, groups=joined[0], weights=joined[1])

    def _targets(self) -> Iterator[tuple[Any, Any, Any]]:
        for start in range(0, self.numbers.size, self.batch_size):
            rows = self.store.take(self.numbers[start : start + self.batch_size])
            if rows.labels is None:
                raise DataError("the rows have no labels, so importance cannot be measured; pass labelled rows.")
            yield rows.labels[:, self.output], rows.group, rows.weight


def shuffled(
    rows: EncodedRows, donors: EncodedRows, layout: Layout, names: tuple[str, ...], crosses: Sequence[Cross] = ()
) -> EncodedRows:
    """Return `rows` with the named fields of `donors`, row by row, and their crosses. Neither argument is changed.

    crosses: the last id columns of the rows are theirs
    """
    ids, numeric = rows.ids.copy(), rows.numeric.copy()
    for array, source, columns in ((ids, donors.ids, layout.ids), (numeric, donors.numeric, layout.numeric)):
        chosen = [i for i, column in enumerate(columns) if column.name in names]
        array[:, chosen] = source[:, chosen]
    if crosses:
        ids[:, -len(crosses) :] = cross_ids(layout, ids, crosses)
    changed = replace(
        rows,
        ids=ids,
        numeric=numeric,
        bags={name: (donors if name in names else rows).bags[name] for name in rows.bags},
        vectors={name: (donors if name in names else rows).vectors[name] for name in rows.vectors},
    )
    if "domain" in names and rows.domain is not None:
        changed = replace(changed, domain=donors.domain)
    if any(name in names for name in rows.histories):
        owned = {name: _by_row(donors if name in names else rows, name) for name in rows.histories}
        changed = replace(changed, histories=owned, owner=None)
    return changed


def _by_row(rows: EncodedRows, name: str) -> NDArray[np.int32]:
    history = rows.histories[name]
    return history if rows.owner is None else history[rows.owner]


def _sample(rows: int, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    if rows < 2:
        raise DataError(f"{rows} rows are too few to shuffle; pass at least two.")
    return np.arange(rows) if rows <= most else np.sort(random.choice(rows, most, replace=False))


def _units(
    layout: Layout, fields: Sequence[str | tuple[str, ...]] | None, crosses: Sequence[Cross]
) -> list[tuple[str, ...]]:
    made = {cross.name for cross in crosses}
    known = tuple(name for name in field_names(layout) if name not in made)
    units = [(unit,) if isinstance(unit, str) else tuple(unit) for unit in (known if fields is None else fields)]
    for name in (name for unit in units for name in unit):
        if name not in known:
            raise UnknownNameError(unknown(name, known, "field"))
    return units


def _importance(
    names: tuple[str, ...], definition: Metric, before: Influence, after: list[Influence], level: float
) -> Importance:
    """Two sources of error: which rows were drawn (paired influences) and which shuffles (their spread)."""
    drops = [definition.gain(before.value, each.value) for each in after]
    moved = np.mean([before.influence - each.influence for each in after], axis=0)
    by_rows = Influence(0.0, moved, before.by_group).error()
    by_shuffles = float(np.std(drops, ddof=1)) / np.sqrt(len(drops)) if len(drops) > 1 else 0.0
    drop, half = float(np.mean(drops)), quantile(level) * float(np.hypot(by_rows, by_shuffles))
    return Importance(" + ".join(names), drop, drop - half, drop + half, tuple(drops))
