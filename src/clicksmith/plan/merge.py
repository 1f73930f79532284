"""Merging Plans: what several searches found, as one; a contradiction is an error that names both sides."""

from collections.abc import Sequence
from itertools import permutations

import msgspec

from clicksmith.errors import UsageError
from clicksmith.plan.parts import ORDER, AnyPart, Columns, IdMaps, KeptFeatures, KeptFields, Pairs, Part, Ranks
from clicksmith.plan.plan import Plan


def merge(*plans: Plan, names: Sequence[str] = ()) -> Plan:
    """Return one Plan with the parts of all, those of earlier ones first.

    Parts that were found side by side (on one numbering of every vocabulary) come in one order however the Plans are
    given; a part that was found under another one must follow it. What is kept is what all keep; what one says of the
    ids of a field that another drops falls away.

    names: of the Plans, as their files, which errors say

    Raises UsageError naming both parts: two give one vocabulary its columns, its rank or its map, a pair two
    operations, or one drops a field of which the other makes a pair.
    """
    named: list[tuple[AnyPart, str]] = []
    for plan, name in zip(plans, names or [""] * len(plans), strict=True):
        named += [(part, name) for part in plan.parts if not any(_same(part, other) for other, _ in named)]
    if any(isinstance(part, Pairs) and part.pairs for part, _ in named):
        named = [(part, name) for part, name in named if not isinstance(part, Pairs) or part.pairs]
    dropped = {name for part, _ in named if isinstance(part, KeptFields) for name in part.drop}
    named = [(part, name) for whole, name in named if (part := _without(whole, dropped)) is not None]
    for (one, first), (two, second) in permutations(named, 2):
        try:
            _check(one, two)
        except UsageError as error:
            both = f"'{first}' and '{second}': " if first and second and first != second else ""
            raise UsageError(f"{both}{error}") from None
    parts = [part for part, _ in named]
    known: dict[str, set[str]] = {}
    for part in parts:
        for slot, numbering in part.numbering.items():
            known.setdefault(slot, set()).add(numbering)
    if all(len(found) == 1 for found in known.values()):
        parts.sort(key=lambda part: (ORDER.index(type(part)), Plan(parts=(part,)).digest))
    return Plan(parts=tuple(parts))


def _same(one: AnyPart, two: AnyPart) -> bool:
    return type(one) is type(two) and Plan(parts=(one,)).digest == Plan(parts=(two,)).digest


def _without(part: AnyPart, dropped: set[str]) -> AnyPart | None:
    """Return the part without the ids of dropped fields; None if it says nothing else."""
    numbering = {slot: at for slot, at in part.numbering.items() if slot not in dropped}
    if isinstance(part, Ranks):
        slots = {slot: rank for slot, rank in part.slots.items() if slot not in dropped}
        return msgspec.structs.replace(part, slots=slots) if slots else None
    if len(numbering) == len(part.numbering):
        return part
    if not isinstance(part, (KeptFeatures, IdMaps, Columns)):
        return msgspec.structs.replace(part, numbering=numbering)
    slots = {slot: one for slot, one in part.slots.items() if slot not in dropped}
    return msgspec.structs.replace(part, slots=slots, numbering=numbering) if slots else None


def _check(one: AnyPart, two: AnyPart) -> None:
    """Raise UsageError if `two` cannot stand beside `one`."""
    if isinstance(one, KeptFields) and isinstance(two, Pairs):
        for pair in two.pairs:
            for name in pair.fields:
                if name in one.drop:
                    both = " x ".join(pair.fields)
                    raise _conflict(one, two, f"the first drops the field '{name}', the second makes the pair {both}")
    for kind, what in ((Columns, "columns"), (IdMaps, "map")):
        if isinstance(one, kind) and isinstance(two, kind):
            for slot in one.slots:
                if slot in two.slots and (kind is Columns or one.numbering[slot] == two.numbering[slot]):
                    raise _conflict(one, two, f"both give the vocabulary '{slot}' its {what}")
    if isinstance(one, (Columns, Ranks)) and isinstance(two, Ranks):
        for slot in one.slots:
            if slot in two.slots:
                what = "columns" if isinstance(one, Columns) else "rank"
                raise _conflict(one, two, f"the first gives the vocabulary '{slot}' its {what}, the second its rank")
    if isinstance(one, Pairs) and isinstance(two, Pairs):
        ops = {frozenset(pair.fields): pair for pair in one.pairs}
        for pair in two.pairs:
            other = ops.get(frozenset(pair.fields))
            if other is not None and msgspec.structs.replace(other, fields=pair.fields) != pair:
                both = " x ".join(pair.fields)
                raise _conflict(
                    one, two, f"the first lets {both} {other.op}, the second {pair.op}, or they differ in size"
                )


def _conflict(one: Part, two: Part, why: str) -> UsageError:
    return UsageError(f"{one.name} and {two.name} contradict each other: {why}. Leave one of them out.")
