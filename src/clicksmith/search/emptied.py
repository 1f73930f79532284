"""Fields of which a search keeps nothing: which of them can leave the model."""

from collections.abc import Collection

import msgspec

from clicksmith.embed.table import Plain
from clicksmith.encode.layout import Layout
from clicksmith.encode.recipe import keeps
from clicksmith.errors import CompositionError, UsageError
from clicksmith.fitting.asked import check_model
from clicksmith.models.spec import ModelSpec
from clicksmith.plan import FoundBy, KeptFields, Plan
from clicksmith.plan.apply import schema_under, users_of_fields
from clicksmith.schema.schema import Schema


def emptied(
    schema: Schema, layout: Layout, slots: Collection[str], numbers: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the fields that can go, with the reason, and notes on those that something which stays still needs.

    Args:
        slots: vocabularies of which no feature is kept.
        numbers: numeric fields whose gate is shut.
    """
    fields = {c.name: c.slot for c in (*layout.ids, *layout.bags)}
    reasons = {name: "no feature of it is kept" for name, slot in fields.items() if slot in slots}
    reasons |= dict.fromkeys(numbers, "its gate is shut")
    shares = {c.name: str(owner) for c in schema.fields if (owner := getattr(c, "share", None))}
    # whoever shares a vocabulary has a say in its numbering, by which the kept features are named
    notes: list[str] = []
    while True:
        uses = users_of_fields(schema)
        held = {use.field: use.told for use in uses if use.field in reasons and use.by not in reasons}
        held |= {name: f"'{owner}'" for name, owner in shares.items() if name in reasons and owner not in reasons}
        if not held:
            return reasons, notes
        for name, user in held.items():
            notes.append(f"'{name}' stays, though {reasons.pop(name)}: {user} needs it")


def left_without(schema: Schema, spec: ModelSpec, drop: dict[str, str], found_by: FoundBy) -> Collection[str]:
    """Return the vocabularies that there are without these fields.

    Raises UsageError: the backbone cannot be built on the fields that are left.
    """
    left = schema_under(Plan(parts=(KeptFields(drop=drop, found_by=found_by),)), schema)
    if drop:
        embed = msgspec.structs.replace(spec.embed, table=Plain(), view_table=Plain())  # of any vocabularies
        try:
            check_model(msgspec.structs.replace(spec, embed=embed), left)
        except CompositionError as error:
            raise UsageError(
                f"of the fields {', '.join(drop)} nothing is kept, and without them the backbone cannot be built: "
                f"{error} Use a smaller --search.penalty, or leave --search.drop-empty-fields out."
            ) from error
    return keeps(left)
