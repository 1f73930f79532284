"""The model under a Plan: what the encoder cannot do is done to the spec."""

import msgspec

from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, UsageError
from clicksmith.models.spec import ModelSpec
from clicksmith.plan.apply import Applied
from clicksmith.plan.parts import Columns


def spec_under(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Return the spec with the Plan's columns: a main table whose vectors are stored at their size.

    Raises UsageError: columns were found for another dim, or the backbone's table has a form of its own.
    """
    for part in applied.columns:
        spec = _mixed(part, spec)
    return spec


def _mixed(part: Columns, spec: ModelSpec) -> ModelSpec:
    embed = spec.embed
    if embed.dim != part.dim:
        raise UsageError(
            f"{part.name} was found for vectors of {part.dim} columns, the model has {embed.dim}; "
            f"give --model.dim {part.dim}."
        )
    blocks = tuple(
        MixedBlock(slot, block.first, block.last, block.columns)
        for slot, found in part.slots.items()
        for block in found
    )
    table = embed.table
    if not isinstance(table, (Plain, Mixed)):
        raise CompositionError(f"{part.name} gives vectors a size of their own, which {table} has already.")
    before = table.blocks if isinstance(table, Mixed) else ()
    mixed = Mixed(blocks=(*before, *blocks), std=table.std)
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(embed, table=mixed))
