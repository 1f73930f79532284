"""Applying a Plan to schema and encoder: which raw value has which row.

A part names ids by the numbering it was found on: the digest of a vocabulary's values in order, or, after other parts,
of the table from that numbering's ids to rows. So a part may follow another one, or two may be found side by side on
one numbering; what was found on other training rows is refused before anything is trained.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.encoder import Encoder, Side
from clicksmith.encode.fitted import Fitted
from clicksmith.encode.layout import DOMAIN, UNSEEN, ZERO
from clicksmith.encode.recipe import history_columns, slot_of
from clicksmith.encode.vocabulary import FIRST, Vocabulary
from clicksmith.errors import SchemaError, UsageError
from clicksmith.identity import digest
from clicksmith.names import unknown
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import Block, Columns, IdMap, IdMaps, KeptFeatures, KeptFields, Pairs, Part
from clicksmith.plan.plan import Plan
from clicksmith.schema.schema import Schema

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Applied:
    """An encoder under a Plan, and what is left to do to the model; ids are those of the new encoder."""

    encoder: Encoder
    columns: tuple[Columns, ...] = ()
    pairs: tuple[Pairs, ...] = ()
    doubles: dict[str, IdMap] = field(default_factory=dict[str, IdMap])
    """Maps to two rows each, by slot: the table sums them."""


def schema_under(plan: Plan, schema: Schema) -> Schema:
    """Return the schema without the fields that the Plan drops.

    Raises UsageError: a dropped field is unknown, or something that stays needs it (the message names both).
    """
    dropped: dict[str, Part] = {}
    for part in plan.parts:
        if isinstance(part, KeptFields):
            dropped |= {name: part for name in part.drop}
    if not dropped:
        return schema
    fields = {c.name: c for c in schema.fields}
    for name, part in dropped.items():
        if name not in fields:
            raise UsageError(f"{part.name} drops '{name}': {unknown(name, fields, 'field')}")
    for user, name, how in _users(schema):
        if name in dropped and user not in dropped:
            raise UsageError(f"{dropped[name].name} drops '{name}', but {how} '{user}' needs it; keep it.")
    for part in plan.parts:
        for pair in part.pairs if isinstance(part, Pairs) else ():
            for name in pair.fields:
                if name in dropped:
                    both = " x ".join(pair.fields)
                    raise UsageError(f"{dropped[name].name} drops '{name}', but {part.name} uses it in {both}.")
    kept = tuple(c for c in schema.fields if c.name not in dropped)
    if not kept and not schema.behaviours:
        raise UsageError("the Plan drops every field; keep at least one.")
    ignored = tuple(dict.fromkeys((*schema.ignored, *dropped)))
    try:
        return msgspec.structs.replace(schema, fields=kept, ignored=ignored)
    except SchemaError as error:
        raise UsageError(f"the schema without the dropped fields does not hold: {error}") from error


def apply_plan(plan: Plan, encoder: Encoder) -> Applied:
    """Return the encoder under id maps and kept features; its schema has the dropped fields left out already.

    Raises UsageError: a part was found on another numbering, names a slot that there is not, or cannot follow another.
    """
    vocabularies = {slot: v for slot, v in encoder.fitted.vocabularies.items() if slot != DOMAIN}
    slots: dict[str, _Slot] = {}
    for part in plan.parts:
        for name in part.numbering:
            if name not in vocabularies:
                raise UsageError(f"{part.name}: {unknown(name, vocabularies, 'vocabulary')}")
            slots.setdefault(name, _Slot(name, vocabularies[name]))
        for name in part.numbering:
            slots[name].check(part)
        if isinstance(part, IdMaps):
            for name, one in part.slots.items():
                slots[name].map(part, one)
        elif isinstance(part, KeptFeatures):
            for name, kept in part.slots.items():
                slots[name].keep(part, kept)
    columns = tuple(_moved(part, slots) for part in plan.parts if isinstance(part, Columns))
    pairs = tuple(part for part in plan.parts if isinstance(part, Pairs))
    doubles = {name: one.double_now(one.double) for name, one in slots.items() if one.double is not None}
    return Applied(_edited(encoder, slots), columns, pairs, doubles)


def numbering(encoder: Encoder) -> dict[str, str]:
    """Return the digest of each slot's numbering: what a part found on this encoder's rows says of itself."""
    return {slot: v.numbering for slot, v in encoder.fitted.vocabularies.items() if slot != DOMAIN}


class _Slot:
    """The ids of one slot while the parts act on it.

    tables: by numbering, from the ids of the encoder at hand to that numbering's; `ZERO` or unseen where dropped
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

    def check(self, part: Part) -> None:
        """Raise UsageError unless the part was found on a numbering that is known here."""
        if part.numbering[self.name] not in self.tables:
            raise UsageError(
                f"{part.name} was found on another numbering of '{self.name}' than these training rows give "
                f"({len(self.old.counts):,} values): the rows, the split, the schema or the Plans before it differ. "
                "Use the same training file, seed and split as the search, or search again."
            )

    def map(self, part: IdMaps, one: IdMap) -> None:
        """Let ids share rows."""
        at = part.numbering[self.name]
        ids, size = self.tables[at], int(self.tables[at].max(initial=1)) + 1
        if self.maps[at] != self.mapped or self.double is not None:
            raise UsageError(f"{part.name} maps the ids of '{self.name}', which another part has mapped already.")
        if len(one.ids) != size:
            raise UsageError(f"{part.name}: its map of '{self.name}' has {len(one.ids):,} ids, there are {size:,}.")
        if one.second is not None:
            self.double, self.doubled = one, at
            return
        self.mapped += 1
        self.group = np.where(ids >= FIRST, one.ids.values[np.maximum(ids, 0)], ids).astype(np.int32)
        self._name()

    def keep(self, part: KeptFeatures, kept: Array) -> None:
        """Drop the ids that are not kept."""
        ids = self.tables[part.numbering[self.name]]
        size = int(ids.max(initial=1)) + 1
        if len(kept) != size:
            raise UsageError(f"{part.name}: its mask of '{self.name}' has {len(kept):,} ids, there are {size:,}.")
        drop: NDArray[np.bool_] = np.logical_not(kept.values[np.maximum(ids, 0)]) & (ids >= FIRST)
        where = ZERO if part.dropped_to == "zero" else UNSEEN
        self.dropped[where] = self.dropped.get(where, np.zeros(len(drop), np.bool_)) | drop
        self._name()

    def now(self) -> Ids:
        """Return the id of each value: numbered closely, in the order of the shared rows."""
        ids = self.group.copy()
        for where in (ZERO, UNSEEN):  # forgotten by one part is forgotten
            if where in self.dropped:
                ids[self.dropped[where] & ((ids >= FIRST) | (ids == ZERO))] = where
        used = np.unique(ids[ids >= FIRST])
        closer = np.zeros(int(ids.max(initial=1)) + 1, np.int32)
        closer[: min(FIRST, len(closer))] = (0, 1)
        closer[used] = np.arange(FIRST, FIRST + len(used), dtype=np.int32)
        return np.where(ids >= 0, closer[np.maximum(ids, 0)], ids).astype(np.int32)

    def _name(self) -> None:
        """Give the numbering that is reached a name, so that a later part may refer to it."""
        ids = self.now()
        name = digest([self.old.numbering, hashlib.sha256(ids.tobytes()).hexdigest()])
        self.tables[name], self.maps[name], self.latest = ids, self.mapped, name

    def moved(self, at: str, block: Block) -> Block | None:
        """Return a block of the numbering `at` in the ids that are reached; None if nothing of it is left."""
        ids, now = self.tables[at], self.now()
        inside = now[(ids >= block.first) & (ids < block.last)]
        inside = inside[inside >= FIRST]
        return Block(int(inside.min()), int(inside.max()) + 1, block.columns) if len(inside) else None

    def double_now(self, double: IdMap) -> IdMap:
        """Return the map to two rows each in the ids that are reached."""
        ids, now = self.tables[self.doubled], self.now()
        source = np.arange(max(FIRST, int(now.max(initial=1)) + 1))
        source[now[now >= FIRST]] = ids[now >= FIRST]
        first, second = (Array(array.values[source]) for array in (double.ids, double.second) if array is not None)
        return IdMap(rows=double.rows, ids=first, second=second)

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


def _moved(part: Columns, slots: dict[str, _Slot]) -> Columns:
    """Return a part on columns in the ids of the new encoder."""
    found: dict[str, tuple[Block, ...]] = {}
    for name, blocks in part.slots.items():
        slot, at = slots[name], part.numbering[name]
        if slot.double is not None:
            raise UsageError(f"{part.name} gives the ids of '{name}' their columns, and their vectors are sums of two.")
        if slot.maps[at] != slot.mapped:
            raise UsageError(
                f"{part.name} gives the ids of '{name}' their columns, and a later part maps these ids to other rows; "
                "map first, and search columns on the mapped ids."
            )
        rows = int(slot.tables[at].max(initial=1)) + 1
        if blocks and blocks[-1].last > rows:
            raise UsageError(
                f"{part.name}: a block of '{name}' ends at {blocks[-1].last:,}; the slot has {rows:,} ids."
            )
        found[name] = tuple(moved for block in blocks if (moved := slot.moved(at, block)) is not None)
    return msgspec.structs.replace(part, slots=found)


def _edited(encoder: Encoder, slots: dict[str, _Slot]) -> Encoder:
    """Return the encoder with the slots' vocabularies; the rows of side tables are renumbered."""
    made = {name: slot for name, slot in slots.items() if slot.edited}
    if not made:
        return encoder
    vocabularies = {**encoder.fitted.vocabularies, **{name: slot.vocabulary() for name, slot in made.items()}}
    tables = {name: slot.renumbered() for name, slot in made.items()}
    sides = {name: replace(side, arrays=_side(encoder, side, tables)) for name, side in encoder.sides.items()}
    return replace(encoder, fitted=Fitted(encoder.schema, vocabularies, encoder.fitted.scales), sides=sides)


def _side(encoder: Encoder, side: Side, tables: dict[str, Ids]) -> Arrays:
    """Return a side table's arrays with new ids."""
    schema, found = encoder.schema, dict(side.arrays)
    slots = [encoder.layout.ids[i].slot for i in side.share.ids]
    ids = np.array(found["ids"])
    for c, slot in enumerate(slots):
        ids[:, c] = tables[slot][ids[:, c]] if slot in tables else ids[:, c]
    found["ids"] = ids
    for bag in side.recipe.bags:
        slot = slot_of(schema, bag.name)
        if slot in tables:
            found[f"bag/{bag.name}"] = tables[slot][found[f"bag/{bag.name}"]]
    for behaviour in side.recipe.histories:
        history = np.array(found[f"history/{behaviour.name}"])
        for k, column in enumerate(history_columns(schema, behaviour)):
            history[..., k] = tables[column.slot][history[..., k]] if column.slot in tables else history[..., k]
        found[f"history/{behaviour.name}"] = history
    return found


def _users(schema: Schema) -> list[tuple[str, str, str]]:
    """Return who needs which field: (user, field, what the user is)."""
    found = [(b.name, b.of, "the behaviour") for b in schema.behaviours]
    found += [(s.name, s.of, f"the side column of '{b.name}',") for b in schema.behaviours for s in b.sides if s.of]
    for column in schema.fields:
        owner: str | None = getattr(column, "share", None)
        if owner is not None:
            found.append((column.name, owner, "the shared vocabulary of"))
    found += [(t.name, t.on or t.key, "the side table") for t in schema.tables]
    named = {"group": schema.group, "domain": schema.domain, "weight": schema.weight}
    named["time"] = schema.time.name if schema.time else None
    return found + [(f"({kind})", name, "the schema's") for kind, name in named.items() if name]
