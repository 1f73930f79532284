"""How a field is read as a code per row: its values, its numbers in bins of equal counts, its set of values.

A field can have two views (a whole number is a name or a quantity; a bag has values and sets of them); it is ranked by
the more certain one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN, Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.encode.texts import Packed
from clicksmith.encode.vocabulary import FIRST
from clicksmith.schema.columns import Numeric

BINS = 20
SETS = 1 << 18
"""Buckets for the hash of a set of values; two sets in one bucket lower the mutual information, never raise it."""
HASHED = 1 << 20
"""Buckets for values that (nearly) never repeat, so that no dictionary of them is kept."""
CUT_BY = 1 << 18
"""Rows that say where the bins of a number end."""
PIECE = 1 << 16
"""Rows that are read at once."""

Codes = NDArray[np.int64]
Kind = Literal["values", "bins", "set", "one value"]
Read = Callable[[EncodedRows, int], Codes]
"""Returns the codes of rows; the second argument is the number of the first row."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to read a field.

    kind: "one value" gives [n, length] codes, -1 where there is none: is a value there, for the best of them;
    all others give [n] codes below `size`.
    """

    field: str
    kind: Kind
    size: int
    read: Read
    empty: tuple[int, ...] = (0, 1)
    """The codes that mean nothing is there, or nothing known."""
    hashed: int | None = None
    """The buckets that values are hashed into, if they are."""
    number: int | None = None
    """The numeric column of the rows that is read, if it is one."""

    @property
    def key(self) -> str:
        """The name under which counts are kept."""
        return f"{self.field}|{self.kind}"


def views_of(store: Store, encoder: Encoder | None = None, whole: Collection[str] = ()) -> list[View]:
    """Return the views of every field of a store but vectors, in the order of its columns.

    `whole` are the fields that hold whole numbers. Where they are categorical they are also seen in bins, which takes
    the encoder; where they are numeric, also as names, hashed (of a wide range about: float32 holds them).
    """
    layout, found = store.layout, list[View]()
    known = {} if encoder is None else encoder.fitted.vocabularies
    numbers = set() if encoder is None else {c.name for c in encoder.schema.fields if isinstance(c, Numeric)}
    for c, column in enumerate(layout.ids):
        kind = "bins" if column.name in numbers else "values"
        missing = known[column.slot].empty_id if column.slot in known else None
        empty = (0, 1) if missing is None else (0, 1, missing)
        hashed = known[column.slot].keep.buckets if column.slot in known else None
        found.append(View(column.name, kind, layout.rows[column.slot], partial(_column, c), empty, hashed))
        if column.name in whole and encoder is not None and layout.rows[column.slot] > BINS + 2:
            table = _bins_of_values(encoder.fitted.vocabularies[column.slot].values, encoder.counts(column.slot))
            found.append(View(column.name, "bins", int(table.max()) + 1, partial(_looked_up, c, table)))
    numeric = store.take(sampled(store.rows, CUT_BY, 0)).numeric if layout.numeric else np.zeros((0, 0), np.float32)
    for c, column in enumerate(layout.numeric):
        edges = edges_of(numeric[:, c])
        found.append(View(column.name, "bins", len(edges) + 3, partial(_binned, c, edges), number=c))
        if column.name in whole:
            read = partial(_named, c)
            found.append(View(column.name, "values", FIRST + HASHED, read, hashed=HASHED, number=c))
    found += _of_several(layout)
    return found


def _of_several(layout: Layout) -> list[View]:
    found: list[View] = []
    for bag in layout.bags:
        found += _two(bag.name, layout.rows[bag.slot], partial(_bag, bag.name))
    for history in layout.histories:
        item = history.columns[0]
        found += _two(item.name, layout.rows[item.slot], partial(_history, history.name))
    return found


def _two(name: str, rows: int, ids: Callable[[EncodedRows], Codes]) -> list[View]:
    nothing = tuple(_hashed(np.array([[mixed]], np.uint64)).item() for mixed in (0, mix(np.array([1])).item()))
    return [View(name, "set", SETS, partial(_set, ids), nothing), View(name, "one value", rows, partial(_each, ids))]


def _column(c: int, rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001 - see Read
    return rows.ids[:, c].astype(np.int64)


def _looked_up(c: int, table: Codes, rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001
    return table[rows.ids[:, c]]


def _binned(c: int, edges: NDArray[np.float32], rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001
    return bins(rows.numeric[:, c], edges)


def _named(c: int, rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001
    """Return the bucket of each number as a name: 1 is missing, as in bins."""
    numbers = rows.numeric[:, c] + np.float32(0)  # -0 is 0
    hashed = mix(numbers.view(np.uint32).astype(np.uint64)) >> np.uint64(44)  # 20 bits
    return np.where(np.isnan(numbers), UNSEEN, hashed.astype(np.int64) + FIRST)


def _bag(name: str, rows: EncodedRows) -> Codes:
    return rows.bags[name].astype(np.int64)


def _history(name: str, rows: EncodedRows) -> Codes:
    ids = rows.histories[name][:, :, 0].astype(np.int64)
    return ids if rows.owner is None else ids[rows.owner]


def _each(ids: Callable[[EncodedRows], Codes], rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001
    """Return every id of a row once: [n, length], -1 where it is there already or there is none."""
    found = np.sort(ids(rows), 1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
    found[found == 0] = -1
    return found


def _set(ids: Callable[[EncodedRows], Codes], rows: EncodedRows, first: int) -> Codes:
    each = _each(ids, rows, first)
    return _hashed(np.where(each < 0, np.uint64(0), mix(each)))


def _hashed(mixed: NDArray[np.uint64]) -> Codes:
    """Return the code of each set from its mixed ids, [n, length] -> [n]."""
    return (mix(mixed.sum(1, dtype=np.uint64)) >> np.uint64(46)).astype(np.int64)  # 18 bits


def mix(codes: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 mixed bits of each code (splitmix64): one to one, and every bit depends on every bit."""
    x = codes.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bins(numbers: NDArray[np.float32], edges: NDArray[np.float32]) -> Codes:
    """Return the bin of each number: 1 is missing (NaN), 2 lies below the first edge."""
    found = np.searchsorted(edges, numbers, side="right") + 2
    return np.where(np.isnan(numbers), 1, found).astype(np.int64)


def edges_of(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the edges between bins of equal counts; a value that fills a bin has one of its own."""
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    if not len(values):
        return values
    below = np.cumsum(counts)
    last = np.searchsorted(below, below[-1] * np.arange(1, BINS) / BINS)
    heavy = values[last[1:][last[1:] == last[:-1]]]
    return np.unique(np.concatenate([heavy, np.nextafter(values[last], np.float32(np.inf))]))


def sampled(rows: int, most: int, seed: int) -> NDArray[Any]:
    """Return about `most` row numbers, in order, chosen by the hash of the number: never every n-th row."""
    if rows <= most:
        return np.arange(rows)
    salt, below = np.uint64((seed << 40) % 2**64), np.uint64(int(most / rows * 2**64))
    found = list[NDArray[Any]]()
    for first in range(0, rows, PIECE):  # numbers of all rows at once would be as large as many fields
        numbers = np.arange(first, min(rows, first + PIECE), dtype=np.uint64)
        found.append(first + np.flatnonzero(mix(numbers ^ salt) < below))
    return np.concatenate(found)


def _bins_of_values(values: Packed, counts: NDArray[np.int64]) -> Codes:
    """Return the bin of each id of a field whose values are whole numbers written as text: [rows].

    0 is padding, 1 unseen or no number; the bins hold equal counts of rows as far as the values allow.
    """
    numbers = np.array([_number(text) for text in values.to_list()])
    there = ~np.isnan(numbers)
    order = np.argsort(numbers[there], kind="stable")
    rows = counts[2:][there][order]
    before = np.cumsum(rows) - rows / 2
    found = np.minimum((before * BINS / max(1, rows.sum())).astype(np.int64), BINS - 1)
    table = np.ones(len(counts), np.int64)
    table[0] = 0
    place = np.flatnonzero(there)[order] + 2
    table[place] = found + 2
    return table


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def pieces(store: Store, start: int = 0, stop: int | None = None, size: int = PIECE):
    """Yield rows of a store in order, with the number of the first of each piece; ids lie column by column."""
    end = store.rows if stop is None else stop
    for first in range(start, end, size):
        rows = store.slice(first, min(end, first + size))
        yield replace(rows, ids=np.asfortranarray(rows.ids)), first
        store.release()
