"""The ids of one vocabulary while the parts of a Plan act on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.layout import LEFT_OUT, UNSEEN, ZERO
from clicksmith.encode.vocabulary import FIRST, Vocabulary
from clicksmith.errors import UsageError
from clicksmith.identity import digest
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import Block, IdMap, IdMaps, KeptFeatures, KeptFields, Part

Ids = NDArray[np.int32]


class Renumbering:
    """Which id each value of a slot has, under all parts so far and under each that a later part may have followed.

    tables: by numbering, the id of each value; `ZERO`, `LEFT_OUT` or unseen where it is dropped
    maps: by numbering, how many maps came before it
    """

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        self.name, self.old = name, vocabulary
        self.group: Ids = vocabulary.ids[1:-1].copy()
        self.dropped: dict[int, NDArray[np.bool_]] = {}
        self.mapped = 0
        self.double: IdMap | None = None
        self.doubled = ""
        self.tables = {vocabulary.numbering: self.group}
        self.maps = {vocabulary.numbering: 0}
        self.latest = ""

    @property
    def edited(self) -> bool:
        """Whether a part changed an id."""
        return self.latest != ""

    def check(self, part: Part, dropping: Sequence[KeptFields] = ()) -> None:
        """Raise UsageError unless the part was found on a numbering that is known here, without the fields dropped."""
        if part.numbering[self.name] not in self.tables:
            lost = "".join(
                f" If a field that {fields.name} drops ({', '.join(fields.drop)}) shared this vocabulary, its values "
                "are missing here."
                for fields in dropping
            )
            raise UsageError(
                f"{part.name} was found on another numbering of '{self.name}' than these training rows give "
                f"({len(self.old.counts):,} values): the rows, the split, the schema or the Plans before it differ."
                f"{lost} Use the same training file, seed, split and schema as the search, which leaves the schema "
                "beside its Plan, as PLAN.search/schema.json, or search again."
            )

    def map(self, part: IdMaps, one: IdMap) -> None:
        """Let ids share rows."""
        at = part.numbering[self.name]
        ids, size = self.tables[at], int(self.tables[at].max(initial=1)) + 1
        if self.maps[at] != self.mapped or self.double is not None:
            raise UsageError(f"{part.name} maps the ids of '{self.name}', which another part has mapped already.")
        if len(one.ids) != size:
            raise UsageError(
                f"{part.name}: its map of '{self.name}' has {len(one.ids):,} ids, there are {size:,}; search again."
            )
        if one.second is not None:
            self.double, self.doubled = one, at
            return
        self.mapped += 1
        self.group = np.where(ids >= FIRST, one.ids.values[np.maximum(ids, 0)], ids).astype(np.int32)
        self._reached(self.group, self.mapped)

    def keep(self, part: KeptFeatures, kept: Array) -> None:
        """Drop the ids that are not kept."""
        at = part.numbering[self.name]
        ids = self.tables[at]
        size = int(ids.max(initial=1)) + 1
        if len(kept) != size:
            raise UsageError(
                f"{part.name}: its mask of '{self.name}' has {len(kept):,} ids, there are {size:,}; search again."
            )
        drop: NDArray[np.bool_] = np.logical_not(kept.values[np.maximum(ids, 0)]) & (ids >= FIRST)
        zero = LEFT_OUT if part.drop_from_history else ZERO
        where = zero if part.dropped_to == "zero" else UNSEEN
        self.dropped[where] = self.dropped.get(where, np.zeros(len(drop), np.bool_)) | drop
        self._reached(np.where(drop, where, ids), self.maps[at])

    def now(self) -> Ids:
        """Return the id of each value: numbered closely, in the order of the shared rows."""
        ids = self.group.copy()
        for where in (ZERO, LEFT_OUT, UNSEEN):  # forgotten by one part is forgotten
            if where in self.dropped:
                ids[self.dropped[where] & ((ids >= FIRST) | (ids < 0))] = where
        return _closely(ids)

    def _reached(self, alone: Ids, mapped: int) -> None:
        """Name what a part reaches from the numbering it was found on, and what all parts reach together."""
        for ids, maps in ((_closely(alone), mapped), (self.now(), self.mapped)):
            name = digest([self.old.numbering, hashlib.sha256(ids.tobytes()).hexdigest()])
            self.tables[name], self.maps[name], self.latest = ids, maps, name

    def moved(self, at: str, block: Block) -> Block | None:
        """Return a block of the numbering `at` in the ids that are reached; None if nothing of it is left."""
        ids, now = self.tables[at], self.now()
        inside = now[(ids >= block.first) & (ids < block.last)]
        inside = inside[inside >= FIRST]
        return Block(int(inside.min()), int(inside.max()) + 1, block.columns) if len(inside) else None

    def moved_double(self) -> IdMap | None:
        """Return the map to two rows, if there is one, by the ids that are reached; rows of none of them go."""
        if self.double is None or not self.edited:
            return self.double
        ids, now = self.tables[self.doubled], self.now()
        there = (now >= FIRST) & (ids >= FIRST)
        assert self.double.second is not None
        both = np.tile(np.arange(max(FIRST, int(now.max(initial=0)) + 1), dtype=np.int32), (2, 1))
        for table, old in zip(both, (self.double.ids, self.double.second), strict=True):
            table[now[there]] = old.values[ids[there]]
        both = _closely(both)
        return IdMap(rows=max(FIRST, int(both.max()) + 1), ids=Array(both[0]), second=Array(both[1]))

    def vocabulary(self) -> Vocabulary:
        """Return the vocabulary; values that nothing remembers are forgotten."""
        ids, old = self.now(), self.old
        forgotten = self.dropped.get(UNSEEN, np.zeros(len(ids), np.bool_)) & (ids == UNSEEN)
        if old.keep.buckets is not None or not forgotten.any():
            return replace(old, remap=ids, plain=self.latest)
        stay = np.flatnonzero(~forgotten).astype(np.int32)
        return replace(
            old,
            values=old.dictionary.pick(stay),
            counts=np.asarray(old.counts[stay]),
            blank=old.blank + int(old.counts[forgotten].sum()),
            remap=ids[stay],
            plain=self.latest,
        )

    def renumbered(self) -> Ids:
        """Return the new id of each id that an encoded row can have; the last entry is for `ZERO`."""
        table = np.arange(self.old.rows + 1, dtype=np.int32)
        table[-1] = ZERO
        before = self.old.ids[1:-1]
        table[before[before >= FIRST]] = self.now()[before >= FIRST]
        return table


def _closely(ids: Ids) -> Ids:
    """Return ids without gaps, in the same order; padding, unseen, `ZERO` and `LEFT_OUT` stay."""
    used = np.unique(ids[ids >= FIRST])
    closer = np.zeros(max(FIRST, int(ids.max(initial=1)) + 1), np.int32)
    closer[:FIRST] = (0, 1)
    closer[used] = np.arange(FIRST, FIRST + len(used), dtype=np.int32)
    return np.where(ids >= 0, closer[np.maximum(ids, 0)], ids).astype(np.int32)
