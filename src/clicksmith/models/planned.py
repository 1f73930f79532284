"""The model under a Plan: what the encoder cannot do is done to the spec."""

from typing import Literal, cast

import msgspec

from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.sockets import reads_of
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, UsageError
from clicksmith.fields.pairs import Pairs
from clicksmith.models.spec import ModelSpec
from clicksmith.plan.apply import Applied
from clicksmith.plan.crossing import pair_ops
from clicksmith.plan.parts import Columns


def spec_under(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Return the spec with the Plan's columns: a main table whose vectors are stored at their size.

    Raises UsageError: columns were found for another dim, or the backbone's table has a form of its own.
    """
    for part in applied.columns:
        spec = _mixed(part, spec)
    return _paired(applied, spec)


def _paired(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Add the Plan's pairs: as flat extras where the block reads them, else as fields."""
    ops = pair_ops(applied)
    if not ops:
        return spec
    columns = [c.name for c in applied.encoder.layout.ids]
    to = pairs_to(spec)
    transforms = list(spec.transforms)
    for dim in sorted({pair.dim for pair in ops}):
        mine = [
            tuple(sorted(pair.fields, key=columns.index)) for pair in ops if pair.dim == dim and pair.op == "factorise"
        ]
        crosses = {"*".join(sorted(p.fields, key=columns.index)) for p in ops if p.dim == dim and p.op == "memorise"}
        there = tuple(name for name in columns if name in crosses)
        if to == "fields" and (dim == spec.embed.dim or "vectors" not in reads_of(spec.interact)):
            there = ()  # they are fields like any other, and blocks without vectors read no other ones
        if there or mine:
            products = cast("tuple[tuple[str, str], ...]", tuple(mine))
            transforms.append(Pairs(memorised=there, factorised=products, dim=dim, to=to))
    return msgspec.structs.replace(spec, transforms=tuple(transforms))


def pairs_to(spec: ModelSpec) -> Literal["extra", "fields"]:
    """Return how pairs reach a backbone."""
    return "extra" if "extra" in reads_of(spec.interact) else "fields"


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
