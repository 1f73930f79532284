"""Merging Plans: what several searches found, as one; a contradiction is an error that names both sides."""

from itertools import combinations

import msgspec

from clicksmith.errors import UsageError
from clicksmith.plan.parts import ORDER, AnyPart, Columns, IdMaps, KeptFields, Pairs, Part
from clicksmith.plan.plan import Plan


def merge(*plans: Plan) -> Plan:
    """Return one Plan with the parts of all, those of earlier ones first.

    Parts that were found side by side (on one numbering of every vocabulary) come in one order however the Plans are
    given; a part that was found under another one must follow it. What is kept is what all keep.

    Raises UsageError naming both parts: two give one vocabulary its columns or its map, a pair two operations, or one
    drops a field that the other speaks of.
    """
    parts: list[AnyPart] = []
    for plan in plans:
        parts += [part for part in plan.parts if not any(_same(part, other) for other in parts)]
    for one, two in combinations(parts, 2):
        _check(one, two)
        _check(two, one)
    known: dict[str, set[str]] = {}
    for part in parts:
        for slot, numbering in part.numbering.items():
            known.setdefault(slot, set()).add(numbering)
    if all(len(found) == 1 for found in known.values()):
        parts.sort(key=lambda part: (ORDER.index(type(part)), Plan(parts=(part,)).digest))
    return Plan(parts=tuple(parts))


def _same(one: AnyPart, two: AnyPart) -> bool:
    return type(one) is type(two) and Plan(parts=(one,)).digest == Plan(parts=(two,)).digest


def _check(one: AnyPart, two: AnyPart) -> None:
    """Raise UsageError if `two` cannot stand beside `one`."""
    if isinstance(one, KeptFields):
        for name in _speaks_of(two):
            if name in one.drop:
                raise _conflict(one, two, f"the first drops the field '{name}', of which the second speaks")
    for kind, what in ((Columns, "columns"), (IdMaps, "map")):
        if isinstance(one, kind) and isinstance(two, kind):
            for slot in one.slots:
                if slot in two.slots and one.numbering[slot] == two.numbering[slot]:
                    raise _conflict(one, two, f"both give the vocabulary '{slot}' its {what}")
    if isinstance(one, Pairs) and isinstance(two, Pairs):
        ops = {frozenset(pair.fields): pair for pair in one.pairs}
        for pair in two.pairs:
            other = ops.get(frozenset(pair.fields))
            if other is not None and msgspec.structs.replace(other, fields=pair.fields) != pair:
                both = " x ".join(pair.fields)
                raise _conflict(
                    one, two, f"the first lets {both} {other.op}, the second {pair.op}, or they differ in size"
                )


def _speaks_of(part: AnyPart) -> tuple[str, ...]:
    named = tuple(name for pair in part.pairs for name in pair.fields) if isinstance(part, Pairs) else ()
    return (*part.slots_named, *named)


def _conflict(one: Part, two: Part, why: str) -> UsageError:
    return UsageError(f"{one.name} and {two.name} contradict each other: {why}. Leave one of them out.")
