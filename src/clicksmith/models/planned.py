"""The model under a Plan: what the encoder cannot do is done to the spec."""

from typing import Literal, cast

import msgspec

from clicksmith.embed.lowrank import LowRank, SlotRank
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.sockets import reads_of
from clicksmith.embed.summed import Summed, SummedSlot, SummedTable
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, UsageError
from clicksmith.fields.pairs import Pairs
from clicksmith.models.spec import CTRModel, ModelSpec, shapes_of
from clicksmith.plan.apply import Applied
from clicksmith.plan.crossing import pair_ops
from clicksmith.plan.parts import Columns


def spec_under(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Return the spec with the Plan's columns, double maps and ranks; `fill_maps` completes the model built from it.

    Raises UsageError: columns were found for another dim. CompositionError: the backbone's table has its own form.
    """
    sized = bool(applied.columns or applied.ranks)
    sized = sized and "vectors" in shapes_of(spec, applied.encoder.layout).reads  # others have nothing to cut
    for part in applied.columns if sized else ():
        spec = _mixed(part, spec)
    if applied.doubles:
        spec = _summed(applied, spec)
    if sized and applied.ranks:
        spec = _low_rank(applied, spec)
    return _paired(applied, spec)


def fill_maps(applied: Applied, model: CTRModel) -> None:
    """Copy the Plan's double maps into the model's tables."""
    for module in model.modules():
        if isinstance(module, SummedTable):
            for slot, one in applied.doubles.items():
                assert one.second is not None
                module.fill(slot, one.ids.values, one.second.values)


def _summed(applied: Applied, spec: ModelSpec) -> ModelSpec:
    slots = tuple(SummedSlot(slot, one.rows) for slot, one in applied.doubles.items())
    embed = spec.embed
    for table in (embed.table, embed.view_table):
        if not isinstance(table, Plain):
            named = ", ".join(f"'{s.slot}'" for s in slots)
            raise CompositionError(
                f"the Plan maps the ids of {named} to sums of two rows, which needs a plain table, not "
                f"{type(table).__name__}; map to single rows instead, or leave the columns out."
            )
    table, view = (Summed(slots=slots, std=t.std) for t in (embed.table, embed.view_table) if isinstance(t, Plain))
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(embed, table=table, view_table=view))


def _low_rank(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Give the slots of the Plan's ranks a table of products; the other slots keep the table they have."""
    embed, table = spec.embed, spec.embed.table
    for part in applied.ranks:
        for slot, rank in part.slots.items():
            if rank >= embed.dim:
                raise UsageError(
                    f"{part.name} gives '{slot}' rank {rank}, and the model's vectors have {embed.dim} columns: leave "
                    f"'{slot}' out, or give --model.dim {rank + 1} or more."
                )
            if slot in applied.doubles:
                raise UsageError(f"{part.name} gives '{slot}' a rank, and its vectors are sums of two; leave one out.")
    if not isinstance(table, (Plain, Mixed, Summed)):
        raise CompositionError(
            f"{applied.ranks[0].name} gives vectors a form of their own, and the backbone's are "
            f"{type(table).__name__}: leave the part out, or use a backbone with a plain table."
        )
    ranks = tuple(SlotRank(slot, rank) for part in applied.ranks for slot, rank in part.slots.items())
    low = LowRank(ranks=ranks, rest=table, std=table.std)
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(embed, table=low))


def _paired(applied: Applied, spec: ModelSpec) -> ModelSpec:
    """Add the Plan's pairs: as flat extras where the block reads them, else as fields."""
    ops = pair_ops(applied)
    if not ops:
        return spec
    columns = [c.name for c in applied.encoder.layout.ids]
    to = pairs_to(spec)
    products = [" x ".join(pair.fields) for pair in ops if pair.op == "factorise"]
    if products and to == "fields" and "vectors" not in reads_of(spec.interact):
        raise CompositionError(
            f"the Plan factorises {', '.join(products[:3])}{', ...' if len(products) > 3 else ''}: products of field "
            "vectors, of which this backbone reads none. Use another backbone, or search with --search.mode counts, "
            "which memorises pairs for it."
        )
    transforms = list(spec.transforms)
    for dim, std in sorted({(pair.dim, pair.std) for pair in ops}):
        alike = [pair for pair in ops if (pair.dim, pair.std) == (dim, std)]
        mine = [tuple(sorted(pair.fields, key=columns.index)) for pair in alike if pair.op == "factorise"]
        crosses = {"*".join(sorted(pair.fields, key=columns.index)) for pair in alike if pair.op == "memorise"}
        there = tuple(name for name in columns if name in crosses)
        if to == "fields" and "vectors" not in reads_of(spec.interact):
            there = ()  # they are fields like any other: blocks without vectors read no other ones
        if there or mine:
            products = cast("tuple[tuple[str, str], ...]", tuple(mine))
            transforms.append(Pairs(memorised=there, factorised=products, dim=dim, std=std, to=to))
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
        raise CompositionError(
            f"{part.name} gives vectors a size of their own, and the backbone's are {type(table).__name__}: leave "
            "the part out, or use a backbone with a plain table."
        )
    before = table.blocks if isinstance(table, Mixed) else ()
    mixed = Mixed(blocks=(*before, *blocks), std=table.std)
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(embed, table=mixed))
