"""Views: further looks at the columns through tables of their own."""

from functools import partial
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.batch.batch import Inputs
from clicksmith.embed.columns import Columns
from clicksmith.embed.hashed import PRIME, Hashed
from clicksmith.embed.histories import in_order
from clicksmith.embed.numbers import Scaled
from clicksmith.embed.pooling import Reduce, masked_pool
from clicksmith.embed.rows import row_stores
from clicksmith.embed.shape import FieldShape, View
from clicksmith.embed.sockets import Table, TableShape, gated_numbers
from clicksmith.encode.layout import DOMAIN, PADDING, Layout
from clicksmith.errors import CompositionError
from clicksmith.parts import kind_of


def build_view(view: View, layout: Layout, shape: FieldShape, *, table: Table, bag: Reduce) -> nn.Module:
    """Return the module of a view: `forward(inputs, gate) -> Tensor`, shaped as `View` says."""
    if view.per == "domain":
        return DomainView(table, layout.domains, view.dim)
    names = tuple(f.name for f in shape.selected(view))
    if view.per == "cross":
        return CrossView(view, layout, names, table=table)
    if view.per == "raw":
        return RawView(layout, names)
    module = ColumnView(view, layout, names, table=table, bag=bag)
    if view.std is not None:
        for store in row_stores(module):
            store.reset(view.std)
    return module


class ColumnView(nn.Module):
    """One vector per field (or several: one for each field, or for each other one); histories are averaged.

    Vectors of a history are those of the ids that it shares with the candidate. Weights, of length 1, are its own: how
    often a thing is clicked says little of those who clicked it.

    Shape:
        out: [batch, selected, dim], [batch, selected, selected, dim] or [batch, selected, selected - 1, dim]
    """

    def __init__(self, view: View, layout: Layout, names: tuple[str, ...], *, table: Table, bag: Reduce) -> None:
        super().__init__()
        self.several = {"pair": len(names), "other": len(names) - 1}.get(view.per)
        self.dim = view.dim * (1 if self.several is None else self.several)
        chosen = [(h, tuple(c for c in in_order(h) if f"{h.name}.{c.name}" in names)) for h in layout.histories]
        self.picked = {h.name: [h.columns.index(c) for c in cs] for h, cs in chosen if cs}
        histories = tuple(h for h, cs in chosen if cs)
        apart = histories if view.per == "id" and view.dim == 1 else ()
        build = partial(Columns, layout, dim=self.dim, table=table, numbers=Scaled(), bag=bag)
        self.columns = build(names, () if apart else histories)
        self.past = build((), apart) if apart else None

    def forward(self, inputs: Inputs, gate: nn.Module | None) -> Tensor:
        """Look the columns up in the view's own table."""
        pieces, _ = self.columns(inputs, gate)
        for name, picked in self.picked.items():
            history = inputs.histories[name]
            keys = (self.past or self.columns).history(name, history, gate)[:, :, picked]
            pooled = masked_pool(keys.flatten(2), history.mask, "mean").unflatten(1, (len(picked), self.dim))
            pieces.append(pooled if inputs.owner is None else pooled.index_select(0, inputs.owner))
        if not pieces:
            pieces = [inputs.numeric.new_zeros((inputs.ids.shape[0], 0, self.dim))]
        out = pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)
        return out if self.several is None else out.unflatten(-1, (self.several, -1))


class CrossView(nn.Module):
    """A vector for each pair of ids of a row, looked up by the hash of both; there is none where one is missing.

    Shape:
        out: [batch, pairs, dim], pairs (0, 1), (0, 2), ..., (1, 2), ... of the selected id columns
    """

    pairs: Tensor
    rows: Tensor

    def __init__(self, view: View, layout: Layout, names: tuple[str, ...], *, table: Table) -> None:
        super().__init__()
        if not isinstance(table, Hashed):
            raise CompositionError(
                f"the view '{view.name}' has a row for every pair of ids, too many for a table of "
                f"'{kind_of(type(table))}'; use view_table=Hashed(bits=18)."
            )
        chosen = [i for i, column in enumerate(layout.ids) if column.name in names]
        both = list(combinations(chosen, 2))
        self.slots = tuple(f"{layout.ids[i].name} x {layout.ids[j].name}" for i, j in both)
        self.single = tuple(column.slot for column in layout.ids)
        self.dim = view.dim
        self.table = table.build(TableShape(tuple((slot, PRIME) for slot in self.slots), view.dim)) if both else None
        self.register_buffer("pairs", torch.tensor(both, dtype=torch.int64).reshape(-1, 2).T, persistent=False)
        sizes = [layout.rows[layout.ids[j].slot] for _, j in both]
        self.register_buffer("rows", torch.tensor(sizes, dtype=torch.int64), persistent=False)

    def forward(self, inputs: Inputs, gate: nn.Module | None) -> Tensor:
        """Number the pairs and look them up; a gate of ids counts for both ids of a pair."""
        if self.table is None:
            return inputs.numeric.new_zeros((inputs.ids.shape[0], 0, self.dim))
        first, second = (inputs.ids.index_select(1, side).long() for side in self.pairs)
        there = (first > PADDING) & (second > PADDING)  # nor what a Plan drops to zero
        numbers = (1 + (first * self.rows + second) % (PRIME - 1)).masked_fill(~there, PADDING)
        vectors = self.table(numbers, self.slots)
        if gate is None:
            return vectors
        gates = gate(inputs.ids.clamp(min=PADDING), self.single)
        return vectors * gates.index_select(1, self.pairs[0]) * gates.index_select(1, self.pairs[1])


class RawView(nn.Module):
    """The numbers themselves; a missing one is 0.

    Shape:
        out: [batch, selected, 1]
    """

    chosen: Tensor

    def __init__(self, layout: Layout, names: tuple[str, ...]) -> None:
        super().__init__()
        chosen = [i for i, c in enumerate(layout.numeric) if c.name in names]
        self.names = tuple(layout.numeric[i].name for i in chosen)
        self.register_buffer("chosen", torch.tensor(chosen, dtype=torch.int64), persistent=False)

    def forward(self, inputs: Inputs, gate: nn.Module | None) -> Tensor:
        """Select the numeric columns."""
        numbers = inputs.numeric.index_select(1, self.chosen).nan_to_num().unsqueeze(-1)
        return gated_numbers(gate, numbers, self.names)


class DomainView(nn.Module):
    """A vector of the row's domain.

    Shape:
        out: [batch, 1, dim]
    """

    def __init__(self, table: Table, domains: int, dim: int) -> None:
        super().__init__()
        self.table = table.build(TableShape(((DOMAIN, domains),), dim))

    def forward(self, inputs: Inputs, gate: nn.Module | None) -> Tensor:  # noqa: ARG002
        """Look the domain up."""
        return self.table(cast("Tensor", inputs.domain).unsqueeze(1), (DOMAIN,))
