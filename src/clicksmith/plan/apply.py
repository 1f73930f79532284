"""Applying a Plan to schema and encoder: which raw value has which row.

A part names ids by the numbering it was found on: the digest of a vocabulary's values in order, or, after other parts,
of the table from that numbering's ids to rows. So a part may follow another one, or two may be found side by side on
one numbering; what was found on other training rows is refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.encoder import Encoder, Side
from clicksmith.encode.fitted import Fitted, of_rows, without_left_out
from clicksmith.encode.layout import DOMAIN
from clicksmith.encode.recipe import history_columns, slot_of
from clicksmith.encode.vocabulary import Vocabulary
from clicksmith.errors import SchemaError, UsageError
from clicksmith.names import unknown
from clicksmith.plan.parts import FIRST, Block, Columns, IdMap, IdMaps, KeptFeatures, KeptFields, Pairs, Part, Ranks
from clicksmith.plan.plan import Plan
from clicksmith.plan.renumber import Ids, Renumbering
from clicksmith.schema.schema import Schema

OTHER_SCHEMA = (
    "A Plan that was found under another schema needs that one: give it with --schema; a search leaves it beside its "
    "Plan, as PLAN.search/schema.json."
)
SHOWN = 6
"""Vocabularies that a note names at most."""


@dataclass(frozen=True)
class Applied:
    """An encoder under a Plan, and what is left to do to the model; ids are those of the new encoder."""

    encoder: Encoder
    columns: tuple[Columns, ...] = ()
    ranks: tuple[Ranks, ...] = ()
    pairs: tuple[Pairs, ...] = ()
    doubles: dict[str, IdMap] = field(default_factory=dict[str, IdMap])
    """Maps to two rows each, by slot: the table sums them."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was applied."""


def schema_under(plan: Plan, schema: Schema) -> Schema:
    """Return the schema without the fields that the Plan drops; those that name a row still do.

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
            what = f"'{name}' is left out already." if name in schema.ignored else unknown(name, fields, "field")
            raise UsageError(f"{part.name} drops '{name}', and the schema has no such field: {what} {OTHER_SCHEMA}")
    for use in users_of_fields(schema):
        if use.field in dropped and use.by not in dropped:
            raise UsageError(f"{dropped[use.field].name} drops '{use.field}', but {use.told} needs it; keep it.")
    for part in plan.parts:
        for pair in part.pairs if isinstance(part, Pairs) else ():
            for name in pair.fields:
                if name in dropped:
                    both = " x ".join(pair.fields)
                    raise UsageError(f"{dropped[name].name} drops '{name}', but {part.name} uses it in {both}.")
    kept = tuple(c for c in schema.fields if c.name not in dropped)
    if not kept and not schema.behaviours:
        raise UsageError("the Plan drops every field; keep at least one.")
    ignored = tuple(dict.fromkeys((*schema.ignored, *(name for name in dropped if name in schema.keys))))
    try:
        return msgspec.structs.replace(schema, fields=kept, ignored=ignored)
    except SchemaError as error:
        raise UsageError(f"the schema without the dropped fields does not hold: {error}") from error


def apply_plan(plan: Plan, encoder: Encoder) -> Applied:
    """Return the encoder under id maps and kept features; its schema has the dropped fields left out already.

    Raises UsageError: a part was found on another numbering, names a slot that there is not, or cannot follow another.
    """
    vocabularies = {slot: v for slot, v in encoder.fitted.vocabularies.items() if slot != DOMAIN}
    slots: dict[str, Renumbering] = {}
    columns: list[Columns] = []
    notes: list[str] = []
    dropping = [part for part in plan.parts if isinstance(part, KeptFields)]
    for part in plan.parts:
        for name in (*part.numbering, *(part.slots if isinstance(part, Ranks) else ())):
            if name not in vocabularies:
                raise UsageError(f"{part.name}: {unknown(name, vocabularies, 'vocabulary')} {OTHER_SCHEMA}")
        for name in part.numbering:
            slots.setdefault(name, Renumbering(name, vocabularies[name]))
        if isinstance(part, Columns):
            part, told = by_rank(part, slots)
            columns.append(part)
            notes += told
        for name in part.numbering:
            slots[name].check(part, dropping)
        if isinstance(part, IdMaps):
            for name, one in part.slots.items():
                slots[name].map(part, one)
        elif isinstance(part, KeptFeatures):
            for name, kept in part.slots.items():
                slots[name].keep(part, kept)
    moved = tuple(_moved(part, slots) for part in columns)
    ranks = tuple(part for part in plan.parts if isinstance(part, Ranks))
    pairs = tuple(part for part in plan.parts if isinstance(part, Pairs))
    doubles = {name: found for name, one in slots.items() if (found := one.moved_double()) is not None}
    return Applied(_edited(encoder, slots), moved, ranks, pairs, doubles, tuple(notes))


def found_elsewhere(plan: Plan, encoder: Encoder, rows: Collection[str]) -> tuple[str, ...]:
    """Return what to say of parts that were found on other rows and hold here, since they speak of hashes.

    rows: the checksums that these rows go by
    """
    notes: list[str] = []
    for part in plan.parts:
        hashed = [name for name in part.slots_named if encoder.fitted.vocabularies[name].keep.buckets is not None]
        train = part.found_by.data.get("train")
        if hashed and train is not None and train not in rows:
            notes.append(
                f"{part.name} was found on other rows, and holds here: the numbers of {', '.join(hashed)} are hashes, "
                "the same on all rows. Of values that were not met there it knows nothing"
            )
    return tuple(notes)


def numbering(encoder: Encoder) -> dict[str, str]:
    """Return the digest of each slot's numbering: what a part found on this encoder's rows says of itself."""
    return {slot: v.numbering for slot, v in encoder.fitted.vocabularies.items() if slot != DOMAIN}


def by_frequency(vocabulary: Vocabulary) -> bool:
    """Whether ids fall in training frequency, so that they mean the same on other rows of the same kind."""
    return vocabulary.keep.buckets is None and vocabulary.remap is None


def by_rank(part: Columns, slots: dict[str, Renumbering]) -> tuple[Columns, list[str]]:
    """Return ranked columns of other rows in the numbering of these, and what to say of it; others as they are.

    Ids fall in training frequency, so a block stays the same range of ids; the last one ends with the vocabulary. Where
    they do not (hashed, or a Plan decided them) the part stays bound to its numbering.
    """
    found, at, told = dict(part.slots), dict(part.numbering), list[str]()
    for name, blocks in part.slots.items():
        slot = slots[name]
        if not part.ranked or slot.edited or at[name] in slot.tables or not blocks or not by_frequency(slot.old):
            continue
        before, now = blocks[-1].last - FIRST, slot.old.rows - FIRST
        found[name] = tuple(
            Block(block.first, now + FIRST if block is blocks[-1] else min(block.last, now + FIRST), block.columns)
            for block in blocks
            if block.first < now + FIRST
        )
        at[name] = slot.old.numbering
        told.append(f"{name} {before:,} and {now:,}")
    if not told:
        return part, []
    more = f" and {len(told) - SHOWN} vocabularies more" if len(told) > SHOWN else ""
    return msgspec.structs.replace(part, slots=found, numbering=at), [
        f"{part.name} was found on other rows, and goes by frequency rank here. Features there and here: "
        f"{', '.join(told[:SHOWN])}{more}; the rarest, where there are more, have the columns of the last block"
    ]


def _moved(part: Columns, slots: dict[str, Renumbering]) -> Columns:
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


def _edited(encoder: Encoder, slots: dict[str, Renumbering]) -> Encoder:
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
        ids[:, c] = of_rows(tables[slot])[ids[:, c]] if slot in tables else ids[:, c]
    found["ids"] = ids
    for bag in side.recipe.bags:
        slot = slot_of(schema, bag.name)
        if slot in tables:
            found[f"bag/{bag.name}"] = of_rows(tables[slot])[found[f"bag/{bag.name}"]]
    for behaviour in side.recipe.histories:
        history = np.array(found[f"history/{behaviour.name}"])
        for k, column in enumerate(history_columns(schema, behaviour)):
            if column.slot in tables:
                table = of_rows(tables[column.slot]) if k else tables[column.slot]
                history[..., k] = table[history[..., k]]
        found[f"history/{behaviour.name}"] = without_left_out(history)
    return found


@dataclass(frozen=True, slots=True)
class Use:
    """A field that something needs: `told` says what, and `by` is the field that goes away with it, if it is one."""

    field: str
    told: str
    by: str | None = None


def users_of_fields(schema: Schema) -> list[Use]:
    """Return what needs which field."""
    found = [Use(b.of, f"the behaviour '{b.name}'") for b in schema.behaviours]
    found += [
        Use(s.of, f"the side column '{s.name}' of '{b.name}'") for b in schema.behaviours for s in b.sides if s.of
    ]
    for column in schema.fields:
        owner: str | None = getattr(column, "share", None)
        if owner is not None:
            found.append(Use(owner, f"the shared vocabulary of '{column.name}'", column.name))
        key: str | None = getattr(column, "by", None)
        if key is not None:
            found.append(Use(key, f"the vector file of '{column.name}'", column.name))
    found += [Use(t.on or t.key, f"the side table '{t.name}'") for t in schema.tables]
    named = {"group": schema.group, "domain": schema.domain, "weight": schema.weight}
    named["time"] = schema.time.name if schema.time else None
    return found + [Use(name, f"the schema's {kind}") for kind, name in named.items() if name]
