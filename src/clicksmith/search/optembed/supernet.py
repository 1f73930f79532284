"""The supernet: a backbone with thresholds on every id and drawn widths. Paper: optembed, section 3."""

import msgspec

from clicksmith.embed.sockets import Table
from clicksmith.embed.table import Plain
from clicksmith.encode.layout import Layout
from clicksmith.errors import CompositionError
from clicksmith.models.spec import ModelSpec, shapes_of
from clicksmith.search.optembed.gate import Thresholds
from clicksmith.search.optembed.options import OptEmbed
from clicksmith.search.optembed.widths import Sampled, grid


def supernet(spec: ModelSpec, options: OptEmbed, layout: Layout, rest: int = 0) -> ModelSpec:
    """Return the backbone with thresholds on every id, and drawn widths where it has a main table to cut.

    rest: steps in which thresholds rest at first.

    Where thresholds rise, the vectors whose sizes they are compared with are drawn as widely as in the released code.
    Of the small vectors that a model begins with otherwise the rising thresholds silence most before they have learned
    anything; a silent id hardly learns, so it stays silent.
    """
    embed = spec.embed
    if embed.ids is not None:
        raise CompositionError(f"the backbone has a gate on its ids already ({embed.ids}); search without it.")
    gate = Thresholds(mode=options.mode, rate=options.threshold_rate, alpha=options.alpha, rest=rest)
    table, view_table, rise = embed.table, embed.view_table, options.threshold_rate * options.alpha > 0
    if "vectors" in shapes_of(spec, layout).reads:
        table = wide(table, layout, embed.dim) if rise else table
        if isinstance(table, Plain):
            grid(options.widths, embed.dim)
            table = Sampled(inner=table, widths=options.widths)
    elif rise:
        view_table = wide(view_table, layout, 1)
    embed = msgspec.structs.replace(embed, ids=gate, table=table, view_table=view_table)
    return msgspec.structs.replace(spec, embed=embed)


def wide(table: Table, layout: Layout, dim: int) -> Table:
    """Return a plain table with Xavier's deviation for all its rows, sqrt(2 / (rows + dim)); others as they are."""
    if not isinstance(table, Plain):
        return table
    return Plain(std=max(table.std, (2.0 / (sum(slot.rows for slot in layout.slots) + dim)) ** 0.5))
