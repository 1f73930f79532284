"""Crosses: pairs of id fields as derived id columns, the same in training and in serving (OptInter's "memorise").

The key of a row is `id_a * rows_b + id_b` in int64, never a text: two pairs of values cannot meet in one key. Nothing
here grows with the product of two vocabularies; an exact cross holds the keys that training met often enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.hashing import splitmix64
from clicksmith.encode.layout import PADDING, UNSEEN, IdColumn, Layout, Slot
from clicksmith.encode.store import Store
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import DataError, UsageError
from clicksmith.names import unknown

PIECE = 1 << 17
"""Rows read at a time."""
MEMORY = 1 << 28
"""Bytes of keys that are sorted at a time; more keys take more passes over the rows."""
LARGEST = 1 << 30
"""Buckets at most: they are int32 ids."""

Ids = NDArray[np.int32]
Keys = NDArray[np.int64]


class CrossOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pair is crossed, and how its keys become ids."""

    fields: tuple[str, str]
    index: Literal["exact", "hash"] = "exact"
    min_count: int = 2
    """Keys (exact) or buckets (hash) that training met fewer times are unseen."""
    buckets: int | None = None
    """Of a hashed index."""
    seed: int = 0
    """Of the hash."""

    def __post_init__(self) -> None:
        """Check the options. Raises UsageError."""
        told = " x ".join(self.fields)
        if self.fields[0] == self.fields[1]:
            raise UsageError(f"the cross {told} is of one field; name two.")
        if self.min_count < 1:
            raise UsageError(f"the cross {told} has min_count {self.min_count}; it must be at least 1.")
        if (self.index == "hash") != (self.buckets is not None):
            raise UsageError(f"the cross {told}: buckets are given with index='hash', and only then.")
        if self.buckets is not None and not FIRST <= self.buckets <= LARGEST:
            raise UsageError(f"the cross {told} has {self.buckets:,} buckets; give 2 to {LARGEST:,}.")


@dataclass(frozen=True, eq=False)
class Cross:
    """A fitted cross. Paper: optinter, memorized methods.

    Shape:
        keys:   [kept], rising; none with a hashed index
        ids:    [kept] the id of each key, or [buckets] the id of each bucket
        counts: [kept] how often training met each id from 2 on
    """

    of: CrossOf
    base: int
    """Rows of the second field's slot."""
    keys: Keys
    ids: Ids
    counts: Keys
    unseen: int = 0
    """Training rows without an id of their own."""

    @property
    def name(self) -> str:
        """The name of the column and of its slot."""
        return "*".join(self.of.fields)

    @property
    def rows(self) -> int:
        """Number of ids, padding and unseen included."""
        return FIRST + len(self.counts)

    @property
    def training_counts(self) -> Keys:
        """How often training met each id: [rows]."""
        return np.concatenate([np.array([0, self.unseen], np.int64), self.counts])

    def id_of(self, first: Ids, second: Ids) -> Ids:
        """Return the id of each row: padding if a side is padding, unseen if a side or the pair is.

        Shape:
            first, second, out: [n]
        """
        keys = first.astype(np.int64) * self.base + second
        if self.of.buckets is not None:
            found = self.ids[buckets_of(keys, self.of.buckets, self.of.seed)]
        elif len(self.keys):
            at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            found = np.where(self.keys[at] == keys, self.ids[at], UNSEEN)
        else:
            found = np.full(len(keys), UNSEEN)
        found = np.where((first <= UNSEEN) | (second <= UNSEEN), UNSEEN, found)
        return np.where((first <= PADDING) | (second <= PADDING), PADDING, found).astype(np.int32)

    def absorb(self, state: hashlib._Hash) -> None:  # pyright: ignore[reportPrivateUsage]
        """Add everything that decides ids to a digest."""
        state.update(msgspec.json.encode([self.of, self.base]))
        for array in (self.keys, self.ids):
            state.update(np.ascontiguousarray(array).tobytes())


def ordered(layout: Layout, wanted: Sequence[CrossOf]) -> tuple[CrossOf, ...]:
    """Return the crosses with the fields of each in the layout's order: a * b is b * a.

    Raises UsageError: a field is no id field, a pair is twice, or its key does not fit 64 bits.
    """
    columns = {c.name: i for i, c in enumerate(layout.ids)}
    others = [c.name for c in (*layout.numeric, *layout.bags, *layout.vectors)] + [h.name for h in layout.histories]
    found: dict[tuple[str, str], CrossOf] = {}
    for one in wanted:
        told = " x ".join(one.fields)
        for name in one.fields:
            if name in others:
                raise UsageError(
                    f"the pair {told}: '{name}' is no field with one id per row (a number gets ids with "
                    "scale='quantile'; bags, vectors and histories are not crossed)."
                )
            if name not in columns:
                raise UsageError(f"the pair {told}: {unknown(name, columns, 'id field')}")
        fields = cast("tuple[str, str]", tuple(sorted(one.fields, key=columns.__getitem__)))
        if fields in found:
            raise UsageError(f"the pair {told} is given twice.")
        sizes = [layout.rows[layout.ids[columns[name]].slot] for name in fields]
        if sizes[0] * sizes[1] >= 2**63:
            raise UsageError(
                f"the pair {told} has {sizes[0]:,} x {sizes[1]:,} keys, which do not fit 64 bits; "
                "give its fields buckets or a larger min_count."
            )
        found[fields] = msgspec.structs.replace(one, fields=fields)
    return tuple(found.values())


def fit_crosses(store: Store, wanted: Sequence[CrossOf], *, memory: int = MEMORY) -> tuple[Cross, ...]:
    """Fit crosses on encoded training rows, one after the other, in memory that does not grow with the rows."""
    return tuple(_fit(store, one, memory) for one in ordered(store.layout, wanted))


def extended_layout(layout: Layout, crosses: Sequence[Cross]) -> Layout:
    """Return the layout with the crosses as id columns of their own slots, at the end.

    A cross has the role that its fields share, or is context.
    """
    if not crosses:
        return layout
    roles = {c.name: c.role for c in layout.ids}
    taken = {*layout.order, *(s.name for s in layout.slots)}
    for cross in crosses:
        if cross.name in taken:
            raise DataError(
                f"a field or another cross is named '{cross.name}' already, the name of the cross of "
                f"{' and '.join(repr(name) for name in cross.of.fields)}; rename the field in the schema."
            )
        taken.add(cross.name)
    columns: list[IdColumn] = []
    for cross in crosses:
        one, two = (roles[name] for name in cross.of.fields)
        column = IdColumn(cross.name, cross.name)
        columns.append(msgspec.structs.replace(column, role=one) if one == two else column)
    declared = layout.order or tuple(c.name for c in (*layout.ids, *layout.numeric, *layout.bags, *layout.vectors))
    return msgspec.structs.replace(
        layout,
        slots=(*layout.slots, *(Slot(c.name, c.rows) for c in crosses)),
        ids=(*layout.ids, *columns),
        order=(*declared, *(c.name for c in crosses)),
    )


def cross_ids(layout: Layout, ids: Ids, crosses: Sequence[Cross]) -> Ids:
    """Return the ids of crosses for the ids of rows: [n, columns of `layout`] -> [n, crosses]."""
    at = {c.name: i for i, c in enumerate(layout.ids)}
    out = np.empty((len(ids), len(crosses)), np.int32)
    for i, cross in enumerate(crosses):
        out[:, i] = cross.id_of(*(ids[:, at[name]] for name in cross.of.fields))
    return out


def buckets_of(keys: Keys, buckets: int, seed: int) -> Keys:
    """Return the bucket of each key: 64 mixed bits, modulo `buckets`."""
    return (splitmix64(keys.view(np.uint64), seed) % np.uint64(buckets)).view(np.int64)


def _fit(store: Store, of: CrossOf, memory: int) -> Cross:
    at = {c.name: i for i, c in enumerate(store.layout.ids)}
    columns = [at[name] for name in of.fields]
    base = store.layout.rows[store.layout.ids[columns[1]].slot]
    if of.buckets is not None:
        counts = np.zeros(of.buckets, np.int64)
        for keys in _keys(store, columns, base):
            counts += np.bincount(buckets_of(keys, of.buckets, of.seed), minlength=of.buckets)
        kept = np.flatnonzero(counts >= of.min_count)
        order = kept[np.argsort(-counts[kept], kind="stable")]
        ids = np.full(of.buckets, UNSEEN, np.int32)
        ids[order] = np.arange(FIRST, FIRST + len(order), dtype=np.int32)
        return Cross(of, base, np.zeros(0, np.int64), ids, counts[order], int(counts.sum() - counts[order].sum()))
    keys, counts, unseen = _counted(store, columns, base, of.min_count, memory)
    ids = np.empty(len(keys), np.int32)
    order = np.lexsort((keys, -counts))
    ids[order] = np.arange(FIRST, FIRST + len(keys), dtype=np.int32)
    return Cross(of, base, keys, ids, counts[order], unseen)


def _counted(store: Store, columns: list[int], base: int, least: int, memory: int) -> tuple[Keys, Keys, int]:
    """Return the keys met `least` times or more, rising, their counts, and how many rows have a rarer one.

    Each pass counts the keys of one part of their hashes, so that memory is bounded however many there are.
    """
    passes = max(1, -(-store.rows * 32 // memory))
    found: list[tuple[Keys, Keys]] = []
    unseen = 0
    for part in range(passes):
        pieces: list[tuple[Keys, Keys]] = []
        for keys in _keys(store, columns, base):
            mine = keys if passes == 1 else keys[buckets_of(keys, passes, 0) == part]
            pieces.append(cast("tuple[Keys, Keys]", np.unique(mine, return_counts=True)))
        keys, counts = _summed(pieces)
        kept = counts >= least
        unseen += int(counts[~kept].sum())
        found.append((keys[kept], counts[kept]))
    keys, counts = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
    order = np.argsort(keys)
    return keys[order], counts[order], unseen


def _summed(pieces: list[tuple[Keys, Keys]]) -> tuple[Keys, Keys]:
    """Return distinct keys, rising, with their counts over all pieces."""
    if not pieces:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys, where = np.unique(np.concatenate([p[0] for p in pieces]), return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, where.reshape(-1), np.concatenate([p[1] for p in pieces]))
    return keys, counts


def _keys(store: Store, columns: list[int], base: int) -> Iterator[Keys]:
    """Yield the keys of rows with both sides known, piece by piece."""
    for start in range(0, store.rows, PIECE):
        ids = store.slice(start, start + PIECE).ids
        first, second = (ids[:, c] for c in columns)
        known = (first > UNSEEN) & (second > UNSEEN)
        yield first[known].astype(np.int64) * base + second[known]
