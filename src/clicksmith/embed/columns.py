"""The column encoder: columns of any kind to vectors through one table; one for the fields, one for each view."""

from collections.abc import Iterable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.batch.batch import History, Inputs
from clicksmith.embed.pooling import Reduce, masked_pool
from clicksmith.embed.sockets import Numbers, Table, TableShape, gated_numbers
from clicksmith.encode.layout import PADDING, HistoryLayout, Layout


class Columns(nn.Module):
    """Encodes the chosen columns of a layout.

    The ids of all columns and bags are looked up in one gather, split into runs, and joined with the other kinds in
    the order of the field axis by a single copy.

    Shape:
        forward: -> list of [batch, n, dim], together the fields in order; and [batch, ids, dim], the id columns only
        history: -> [users, time, columns, dim]
    """

    def __init__(
        self,
        layout: Layout,
        names: tuple[str, ...],
        histories: tuple[HistoryLayout, ...],
        dim: int,
        *,
        table: Table,
        numbers: Numbers,
        bag: Reduce,
    ) -> None:
        super().__init__()
        ids = [i for i, c in enumerate(layout.ids) if c.name in names]
        numeric = [i for i, c in enumerate(layout.numeric) if c.name in names]
        bags = [c for c in layout.bags if c.name in names]
        vectors = [c for c in layout.vectors if c.name in names]
        self.reduce: Reduce = bag
        self.zeros = any(s.zeros for s in layout.slots)
        self.id_names = tuple(layout.ids[i].name for i in ids)
        self.number_names = tuple(layout.numeric[i].name for i in numeric)
        self.bag_names = tuple(c.name for c in bags)
        self.vector_names = tuple(c.name for c in vectors)
        self.slots = tuple(layout.ids[i].slot for i in ids) + tuple(c.slot for c in bags for _ in range(c.length))
        self.history_slots = {h.name: tuple(c.slot for c in h.columns) for h in histories}
        used = {*self.slots, *(slot for slots in self.history_slots.values() for slot in slots)}
        kept = tuple((s.name, s.rows) for s in layout.slots if s.name in used)
        self.table = table.build(TableShape(kept, dim)) if kept else None
        self.numbers = numbers.build(len(numeric), dim) if numeric else None
        self.vectors = nn.ModuleList(nn.Linear(c.dim, dim) for c in vectors)
        self.register_buffer("id_columns", _index(ids, len(layout.ids)), persistent=False)
        self.register_buffer("numeric_columns", _index(numeric, len(layout.numeric)), persistent=False)
        number_fields = numbers.fields(self.number_names) if numeric else ()
        order = field_order(layout, names, numbers)
        self.id_runs = _runs([order.index(name) for name in self.id_names])
        self.number_runs = _runs([order.index(name) for name in number_fields])
        singles = [[order.index(name)] for name in self.bag_names + self.vector_names]
        pieces = [self.id_runs, self.number_runs, singles]
        starts = [run[0] for runs in pieces for run in runs]
        self.arrangement = sorted(range(len(starts)), key=starts.__getitem__)
        self.sizes = [len(r) for r in self.id_runs] + [c.length for c in bags]
        self.number_sizes = [len(r) for r in self.number_runs]

    id_columns: Tensor | None
    numeric_columns: Tensor | None

    def forward(self, inputs: Inputs, gate: nn.Module | None) -> tuple[list[Tensor], Tensor | None]:
        """Return the fields as pieces in order, and the id columns' vectors."""
        pieces: list[Tensor] = []
        looked_up = self._ids(inputs, gate)
        if looked_up is not None:
            split = [looked_up] if len(self.sizes) == 1 else list(looked_up.split(self.sizes, 1))
            runs = len(self.id_runs)
            pieces += split[:runs] if self.id_runs else []
            for name, vectors in zip(self.bag_names, split[runs:], strict=True):
                pieces.append(masked_pool(vectors, inputs.bags[name] != 0, self.reduce).unsqueeze(1))
        if self.numbers is not None:
            x = inputs.numeric
            x = self.numbers(x if self.numeric_columns is None else x.index_select(1, self.numeric_columns))
            x = gated_numbers(gate, x, self.number_names)
            x = x if looked_up is None else x.to(looked_up.dtype)  # under autocast rows come in lower precision
            numeric = [x] if len(self.number_runs) == 1 else list(x.split(self.number_sizes, 1))
            at = len(self.id_runs)
            pieces[at:at] = numeric
        for name, linear in zip(self.vector_names, cast("Iterable[nn.Linear]", self.vectors), strict=True):
            pieces.append(linear(inputs.vectors[name].to(linear.weight.dtype)).unsqueeze(1))
        return [pieces[i] for i in self.arrangement], looked_up

    def history(self, name: str, history: History, gate: nn.Module | None) -> Tensor:
        """Look up the columns of a history in the same table: [users, time, columns, dim]."""
        return self._look_up(history.ids, self.history_slots[name], gate)

    def _ids(self, inputs: Inputs, gate: nn.Module | None) -> Tensor | None:
        if not self.slots:
            return None
        ids = inputs.ids if self.id_columns is None else inputs.ids.index_select(1, self.id_columns)
        if self.bag_names:
            ids = torch.cat([ids, *(inputs.bags[name] for name in self.bag_names)], 1)
        return self._look_up(ids, self.slots, gate)

    def _look_up(self, ids: Tensor, slots: tuple[str, ...], gate: nn.Module | None) -> Tensor:
        ids = ids.clamp(min=PADDING) if self.zeros else ids  # the vector of `ZERO` is that of padding
        vectors = self.table(ids, slots)  # type: ignore[misc]
        return vectors if gate is None else vectors * gate(ids, slots)


def field_order(layout: Layout, names: tuple[str, ...], numbers: Numbers) -> list[str]:
    """Return the field axis of the chosen columns; merged numeric fields stand where the first number stood."""
    declared = list(layout.order) or [c.name for c in (*layout.ids, *layout.numeric, *layout.bags, *layout.vectors)]
    order = [name for name in declared if name in names]
    numeric = tuple(c.name for c in layout.numeric if c.name in names)
    fields = numbers.fields(numeric) if numeric else ()
    if fields == numeric:
        return order
    at = order.index(numeric[0])
    rest = [name for name in order if name not in numeric]
    at -= sum(name in numeric for name in order[:at])
    return rest[:at] + list(fields) + rest[at:]


def _index(chosen: list[int], total: int) -> Tensor | None:
    return None if chosen == list(range(total)) else torch.tensor(chosen, dtype=torch.int64)


def _runs(positions: list[int]) -> list[list[int]]:
    """Split positions on the field axis into runs that are contiguous there: [3, 4, 7] -> [[3, 4], [7]]."""
    runs = [positions[:1]] if positions else []
    for before, after in pairwise(positions):
        if after == before + 1:
            runs[-1].append(after)
        else:
            runs.append([after])
    return runs
