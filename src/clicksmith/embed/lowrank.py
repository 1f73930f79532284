"""`LowRank`: a table whose vectors are products of short ones and one matrix per slot (what a Plan's ranks become)."""

from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotNumbers
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError


class SlotRank(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids of a slot have so many numbers each."""

    slot: str
    rank: int


class LowRank(Table, frozen=True):
    """The vector of an id is `u[id] V` for the named slots, with u [rank] and one V [rank, dim] per slot.

    Slots that are not named lie in the table `rest`, as they would without this part. Paper: lowrank.
    """

    ranks: tuple[SlotRank, ...]
    rest: Table = Plain()
    std: float = 1e-4
    """Deviation of the vectors: u is drawn with it, V so that the product keeps it."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table; ranks of slots that it does not hold are left out.

        Raises CompositionError: a rank is not below the length of the vectors, or a slot has two.
        """
        given = [one.slot for one in self.ranks]
        for slot, rank in ((one.slot, one.rank) for one in self.ranks):
            if not 1 <= rank < shape.dim or given.count(slot) > 1:
                raise CompositionError(
                    f"the vectors of '{slot}' have rank {rank}{' and another one' if given.count(slot) > 1 else ''}; "
                    f"give each slot one rank, from 1 to {shape.dim - 1}: vectors have {shape.dim} columns."
                )
        return LowRankTable(shape, {one.slot: one.rank for one in self.ranks}, self.rest, self.std)


class LowRankTable(nn.Module):
    """A store of short vectors per rank, and a matrix per slot.

    Padding, whose short vector is zero, stays zero.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    def __init__(self, shape: TableShape, ranks: dict[str, int], rest: Table, std: float) -> None:
        super().__init__()
        held = [(slot, rows) for slot, rows in shape.slots if slot in ranks]
        self.rank = {slot: ranks[slot] for slot, _ in held}
        others = tuple((slot, rows) for slot, rows in shape.slots if slot not in ranks)
        self.rest = rest.build(TableShape(others, shape.dim)) if others else None
        widths = sorted(set(self.rank.values()))
        alike = [tuple((slot, rows) for slot, rows in held if ranks[slot] == rank) for rank in widths]
        self.stores = nn.ModuleList(RowStore(slots, rank, std=std) for slots, rank in zip(alike, widths, strict=True))
        self.maps = nn.ParameterList(
            nn.init.normal_(torch.empty(len(slots), rank, shape.dim), std=rank**-0.5)
            for slots, rank in zip(alike, widths, strict=True)
        )
        self.offsets = [SlotNumbers(cast("RowStore", store).starts) for store in self.stores]
        self.places = {slot: (i, k) for i, slots in enumerate(alike) for k, (slot, _) in enumerate(slots)}

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        order, pieces = list[int](), list[Tensor]()
        own = [c for c, slot in enumerate(slots) if slot not in self.places]
        if self.rest is not None and own:
            order += own
            pieces.append(self.rest(_picked(ids, own), tuple(slots[c] for c in own)))
        for i, (store, offsets, maps) in enumerate(zip(self.stores, self.offsets, self.maps, strict=True)):
            mine = [c for c, slot in enumerate(slots) if slot in self.places and self.places[slot][0] == i]
            if mine:
                order += mine
                named = tuple(slots[c] for c in mine)
                short = store(_picked(ids, mine), offsets(named, ids.device))
                own_maps = maps[[self.places[slot][1] for slot in named]].to(short.dtype)
                pieces.append(torch.einsum("...cr,crd->...cd", short, own_maps))
        found = torch.cat([piece.to(pieces[0].dtype) for piece in pieces], -2)
        back = sorted(range(len(order)), key=order.__getitem__)
        return found if back == list(range(len(order))) else _picked(found, back, -2)


def _picked(x: Tensor, which: list[int], axis: int = -1) -> Tensor:
    return x.index_select(axis, torch.tensor(which, device=x.device))
