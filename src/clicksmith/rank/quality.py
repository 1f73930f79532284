"""What is odd about the fields: coverage, singletons, copies, leaks, values that training never saw, drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN
from clicksmith.encode.store import Store
from clicksmith.encode.texts import Packed
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import DataError
from clicksmith.rank.counts import Counts, Vector, checked
from clicksmith.rank.mutual import NullOfLabel, mutual_information
from clicksmith.rank.ranking import Drift
from clicksmith.rank.scored import Seen
from clicksmith.rank.views import Codes, View, pieces, sampled

LEAK = 0.9
"""Share of the label's entropy above which a field is suspected to be made from the label."""
BALANCED = -5.0
"""The deviate below which click rates are more equal than chance allows, as where negatives are drawn per user."""
PERIODS = 10
VALUES = 4096
"""Values that are told apart in the picture of drift, the most frequent; merging the others only lowers a number."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Quality:
    """What is told of a field besides its score: see `FieldScore`."""

    values: int
    coverage: float
    singletons: float | None
    top: tuple[tuple[str, float], ...]
    flags: tuple[str, ...]


class Vocabularies:
    """The texts behind ids, where an encoder is at hand."""

    def __init__(self, store: Store, encoder: Encoder | None) -> None:
        layout = store.layout
        slots = {c.name: c.slot for c in (*layout.ids, *layout.bags)}
        slots |= {h.columns[0].name: h.columns[0].slot for h in layout.histories}
        known = {} if encoder is None else encoder.fitted.vocabularies
        self._values = {name: known[slot].values for name, slot in slots.items() if slot in known}

    def text(self, field: str, id_: int) -> str | None:
        """Return the value of an id; None where it is not known, as with hashed values."""
        values = self._values.get(field)
        if values is None or not 2 <= id_ < len(values) + 2:
            return None
        return _text(values, id_ - 2)


def _text(values: Packed, number: int) -> str:
    start = int(values.ends[number - 1]) if number else 0
    return values.text[start : int(values.ends[number])].tobytes().decode()


def quality(
    several: Sequence[Seen], counts: Counts, texts: Vocabularies, copy_of: str | None, entropy: float
) -> Quality:
    """Return what the counts of one field tell besides its score; its views are `several`, the surest first."""
    found = several[0]
    by_kind = {one.view.kind: one.view for one in several}
    view = by_kind.get("values") or by_kind.get("one value") or found.view  # values, not sets of them
    rows = counts.by[view.key][0]
    total = counts.total
    there, singles = _distinct(rows, view.hashed, counts.rows)
    weighted = rows.dtype.kind == "f"  # sums of weights do not tell which values one row has
    whole = next(one.view for one in several if one.view.kind != "one value")
    each = counts.by[whole.key][0]
    covered = 1.0 - float(sum(each[code] for code in set(whole.empty) if code < len(each))) / total
    top: list[tuple[str, float]] = []
    if view.kind in ("values", "one value"):
        often = np.argpartition(-rows, min(SHOWN, len(rows) - 1))[: SHOWN + 2]
        for id_ in often[np.argsort(-rows[often], kind="stable")].tolist():
            text = texts.text(view.field, id_)
            if text is not None and rows[id_] > 0 and len(top) < SHOWN:
                top.append((text, float(rows[id_]) / total))
    flags: list[str] = []
    if there <= 1 and (view.kind != "one value" or covered == 1):
        flags.append("one value in all rows")
    if view.kind == "values" and there > 0.5 * counts.rows:
        flags.append("nearly every row has a value of its own")
    if entropy > 0 and found.information > LEAK * entropy:
        flags.append(
            f"leak? it alone knows {found.information / entropy:.0%} of the label; is it known before the click?"
        )
    if found.z < BALANCED and found.null.halves is None:  # of two values the likeliest clicks already say least
        flags.append("says less than chance would: rows seem to be balanced by it; it can still matter in pairs")
    if copy_of is not None:
        flags.append(f"says the same as '{copy_of}', value by value")
    known = None if weighted or view.kind == "bins" else singles
    return Quality(there, covered, known, tuple(top), tuple(flags))


def _distinct(rows: Vector, buckets: int | None, most: int) -> tuple[int, float]:
    """Return how many values there are, and the share of them that one row has.

    Hashed values share buckets, so that both are estimated: by linear counting (Whang et al., 1990), and by the chance
    that a value's bucket holds no other one.
    """
    there, singles = int((rows > 0).sum()), float((rows == 1).sum())
    if buckets is None:
        return there, singles / max(1, there)
    free = 1 - int((rows[FIRST:] > 0).sum()) / buckets
    distinct = most if free <= 0 else min(most, round(-buckets * math.log(free)) + int((rows[:FIRST] > 0).sum()))
    return distinct, 0.0 if free <= 0 else min(1.0, singles / free / max(1, distinct))


def copies(store: Store, seen: Mapping[str, Sequence[Seen]], seed: int) -> dict[str, str]:
    """Return field -> an earlier field whose values correspond to its own one to one.

    Numbers do if they come in the same order, or in the reverse one, and are missing together.
    """
    alike: dict[tuple[Any, ...], list[View]] = {}
    numbers: dict[tuple[Any, ...], list[View]] = {}
    for views in seen.values():
        for one in views:
            rows, clicks = one.table
            if one.view.kind == "bins" and one.view.number is not None:
                numbers.setdefault((rows[UNSEEN], clicks[UNSEEN]), []).append(one.view)
            elif one.view.kind == "values" and one.view.number is None and (rows > 0).sum() > 1:
                key = (np.sort(rows[rows > 0]).tobytes(), np.sort(clicks[rows > 0]).tobytes())
                alike.setdefault(key, []).append(one.view)
    alike = {key: views for key, views in alike.items() if len(views) > 1}
    numbers = {key: views for key, views in numbers.items() if len(views) > 1}
    if not alike and not numbers:
        return {}
    rows = store.take(sampled(store.rows, 1 << 14, seed))
    found: dict[str, str] = {}
    for views in numbers.values():
        first: dict[bytes, str] = {}
        for view in views:
            order = _order(rows.numeric[:, view.number])
            if order is not None and (other := first.setdefault(order, view.field)) != view.field:
                found[view.field] = other
    for views in alike.values():
        met: dict[bytes, str] = {}
        for view in views:
            if (other := met.setdefault(_renamed(view.read(rows, 0)), view.field)) != view.field:
                found.setdefault(view.field, other)
    return found


def _renamed(codes: Codes) -> bytes:
    """Return codes numbered as they come first: the same for two fields whose values correspond."""
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place.reshape(-1)].tobytes()


def _order(numbers: NDArray[np.float32]) -> bytes | None:
    """Return the ranks of numbers, the same for the reverse order; None if they are all equal."""
    there = ~np.isnan(numbers)
    values, ranks = np.unique(numbers[there], return_inverse=True)
    if len(values) < 2:
        return None
    up, down = np.full((2, len(numbers)), -1)
    up[there], down[there] = ranks, len(values) - 1 - ranks
    return min(up.tobytes(), down.tobytes())


def unseen_shares(store: Store, views: Sequence[View], counts: Counts) -> dict[str, float]:
    """Return the share of (validation) rows whose value training did not see, of fields read by value.

    A hashed value is one where training, whose counts are given, left its bucket empty: the share is at least that.
    Empty cells are among them where the schema takes these as unseen.
    """
    views = [view for view in views if view.kind == "values"]
    met = {view.field: 0 for view in views}
    for rows, first in pieces(store):
        for view in views:
            codes = view.read(rows, first)
            new = codes == UNSEEN if view.hashed is None else counts.by[view.key][0][codes] == 0
            met[view.field] += int(new.sum())
    return {name: count / store.rows for name, count in met.items()}


def _name(start: float, by_day: bool) -> str:
    try:
        return datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d" if by_day else "%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError) as error:
        raise DataError(
            f"a row's time is {start:.6g} seconds after 1970, which no calendar has; give the schema's time its unit "
            "(s or ms)."
        ) from error


def drift(store: Store, views: Sequence[View], label: int) -> Drift | None:
    """Return the click rate and what the fields say of it by period, by weights if there are any.

    None if the rows have no time.
    Periods are days if there are 2 to 31, else ten of equal length.
    """
    times = store.targets.get("time")
    if times is None or not np.isfinite(times).any():
        return None
    low, high = float(np.nanmin(times)), float(np.nanmax(times))
    if low == high:
        return None
    first_day, days = int(low // 86_400), int(high // 86_400) - int(low // 86_400) + 1
    by_day = 2 <= days <= 31
    edges = (first_day + np.arange(1, days)) * 86_400.0 if by_day else np.linspace(low, high, PERIODS + 1)[1:-1]
    starts = [low, *edges.tolist()]
    names = [_name(start, by_day) for start in starts]
    views = [view for view in views if view.kind != "one value"]
    sizes = [min(view.size, VALUES) for view in views]
    weighted = "weight" in store.targets
    tables = [np.zeros((len(names), size, 2), np.int64) for size in sizes]
    weights = [table.astype(np.float64) for table in tables] if weighted else tables
    rows_of, weight_of, square_of = (np.zeros((len(names), 2)) for _ in range(3))
    for rows, first in pieces(store):
        at = slice(first, first + len(rows))
        labels, weight = checked(store.targets, at, first, label)
        there = np.isfinite(times[at])
        period, labels = np.searchsorted(edges, times[at], side="right")[there], labels[there]
        weight = None if weight is None else weight[there]
        for sums, power in ((rows_of, 0), (weight_of, 1), (square_of, 2)):
            _added(sums, period * 2 + labels, None if weight is None else weight**power)
        for view, size, table, heavy in zip(views, sizes, tables, weights, strict=True):
            codes = view.read(rows, first)[there]
            mixed = view.hashed is not None or view.kind == "set"  # else the most frequent values have the first codes
            codes = codes % size if mixed else np.minimum(codes, size - 1)
            both = (period * size + codes) * 2 + labels
            _added(table, both)
            if weighted:
                _added(heavy, both, weight)
    nulls = [NullOfLabel(int(rows.sum()), int(rows[1])) for rows in rows_of]
    for p, null in enumerate(nulls):
        if null.clicks not in (0, null.rows):
            null.prepare([table[p].sum(1) for table in tables])
    wider = [_wider(*sums) if weighted else 1.0 for sums in zip(rows_of, weight_of, square_of, strict=True)]
    information = {
        view.field: tuple(
            mutual_information(part.sum(1), part[:, 1]) - times_ * null.of(counted.sum(1)).mean
            for part, counted, null, times_ in zip(heavy, table, nulls, wider, strict=True)
        )
        for view, table, heavy in zip(views, tables, weights, strict=True)
    }
    total = weight_of.sum(1)
    rate = np.divide(weight_of[:, 1], total, out=np.zeros(len(names)), where=total > 0)
    return Drift(tuple(names), tuple(int(rows.sum()) for rows in rows_of), tuple(rate.tolist()), information)


def _added(sums: NDArray[Any], codes: Codes, weight: NDArray[np.float64] | None = None) -> None:
    """Add rows, or their weights, to the sums of their codes."""
    sums += np.bincount(codes, weight, sums.size).reshape(sums.shape)


def _wider(rows: NDArray[np.float64], weight: NDArray[np.float64], square: NDArray[np.float64]) -> float:
    """Return how many times the information by chance of unweighted rows these weighted ones have, to first order.

    Shape:
        each [2], for rows without and with a click: how many there are, the sums of weights and of their squares
    """
    rate = weight[1] / max(weight.sum(), 1e-300)
    variance = square[1] * (1 - rate) ** 2 + square[0] * rate**2  # of the weighted clicks beyond their share
    return float(rows.sum() * variance / (weight.sum() ** 2 * rate * (1 - rate))) if 0 < rate < 1 else 1.0
