"""`Mixed`: a table whose vectors are stored at their size, block by block of ids (what a Plan's columns become)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotOffsets
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.errors import CompositionError


class MixedBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids `first` ... `last` - 1 of a slot have these columns; the others are zero and take no memory."""

    slot: str
    first: int
    last: int
    columns: tuple[int, ...]


class Mixed(Table, frozen=True):
    """A vector per id with the columns of its block; ids in no block (padding, unseen) have all.

    It equals the plain table whose other columns are held at zero. Vectors with the same columns lie in one store, so a
    lookup costs a gather per set of columns.
    """

    blocks: tuple[MixedBlock, ...]
    """In rising order within each slot, without overlaps."""
    std: float = 1e-4
    """Deviation of the normal distribution that the numbers are drawn from."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table; blocks of slots that it does not hold are left out.

        Raises CompositionError: a block is none, or names columns or ids that there are not.
        """
        rows, held = dict(shape.slots), dict[str, list[MixedBlock]]()
        for block in self.blocks:
            if block.slot not in rows:
                continue
            before = held.setdefault(block.slot, [])
            start = before[-1].last if before else 0
            if not start <= block.first < block.last <= rows[block.slot]:
                raise CompositionError(
                    f"the block {block.first}..{block.last} of '{block.slot}' is empty, overlaps the one before, or "
                    f"ends beyond its {rows[block.slot]} ids."
                )
            if any(not 0 <= c < shape.dim for c in block.columns):
                raise CompositionError(f"a block of '{block.slot}' has columns {block.columns} of {shape.dim}.")
            before.append(block)
        return MixedTable(shape, {slot: _whole(held.get(slot, []), n, shape.dim) for slot, n in shape.slots}, self.std)


def _whole(blocks: list[MixedBlock], rows: int, dim: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return blocks that cover all ids from 1 on: those given, and whole vectors between them."""
    found: list[tuple[int, int, tuple[int, ...]]] = []
    at = 1
    for block in [*blocks, MixedBlock("", rows, rows, ())]:
        if block.first > at:
            found.append((at, block.first, tuple(range(dim))))
        if block.last > max(at, block.first):
            found.append((max(at, block.first), block.last, block.columns))
        at = max(at, block.last)
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    """The ids `first` ... `last` - 1 of a slot lie in the store from local row `start` on."""

    first: int
    last: int
    start: int


class MixedTable(nn.Module):
    """A store per set of columns.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    def __init__(
        self, shape: TableShape, blocks: dict[str, list[tuple[int, int, tuple[int, ...]]]], std: float
    ) -> None:
        super().__init__()
        self.dim = shape.dim
        self.kinds = sorted({columns for found in blocks.values() for *_, columns in found if columns})
        self.pieces: list[dict[str, list[_Piece]]] = []
        stores: list[RowStore] = []
        for columns in self.kinds:
            pieces, sizes = dict[str, list[_Piece]](), list[tuple[str, int]]()
            for slot, found in blocks.items():
                rows = 1  # its padding row
                for first, last, own in found:
                    if own == columns:
                        pieces.setdefault(slot, []).append(_Piece(first, last, rows))
                        rows += last - first
                if rows > 1:
                    sizes.append((slot, rows))
            self.pieces.append(pieces)
            store = RowStore(tuple(sizes), len(columns), std=std)
            store.runs = tuple(
                run for slot, _ in sizes for run in ((slot, 0, 1), *((slot, p.first, p.last) for p in pieces[slot]))
            )
            stores.append(store)
        self.stores = nn.ModuleList(stores)
        self.offsets = [SlotOffsets(store) for store in stores]
        for i, columns in enumerate(self.kinds):
            self.register_buffer(f"columns{i}", torch.tensor(columns, dtype=torch.int64), persistent=False)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        out: Tensor | None = None
        for i, store in enumerate(cast("Iterable[RowStore]", self.stores)):
            here = [c for c, slot in enumerate(slots) if slot in self.pieces[i]]
            if not here:
                continue
            taken = ids if len(here) == len(slots) else ids[..., here]
            names = tuple(slots[c] for c in here)
            vectors = store(self._local(taken, names, self.pieces[i]), self.offsets[i](names, ids.device))
            if len(self.kinds[i]) < self.dim:
                wide = vectors.new_zeros((*vectors.shape[:-1], self.dim))
                vectors = wide.index_copy(-1, getattr(self, f"columns{i}"), vectors)
            if len(here) < len(slots):
                wide = vectors.new_zeros((*ids.shape, self.dim))
                vectors = wide.index_copy(-2, torch.tensor(here, device=ids.device), vectors)
            out = vectors if out is None else out + vectors.to(out.dtype)
        if out is None:
            weight = next(self.parameters(), None)
            return torch.zeros(
                (*ids.shape, self.dim), dtype=None if weight is None else weight.dtype, device=ids.device
            )
        return out

    @torch.no_grad()
    def fill(self, weight: Tensor, starts: dict[str, int]) -> None:
        """Take the numbers of a plain table [rows, dim], whose slots begin at the rows `starts`."""
        for columns, store in zip(self.kinds, cast("Iterable[RowStore]", self.stores), strict=True):
            rows = torch.cat([torch.arange(starts[slot] + first, starts[slot] + last) for slot, first, last in store.runs])
            store.weight.copy_(weight[rows.to(weight.device)][:, list(columns)])

    def _local(self, ids: Tensor, slots: tuple[str, ...], pieces: dict[str, list[_Piece]]) -> Tensor:
        """Return the row of each id in its slot's part of the store; 0 (padding) where it lies in another store."""
        local = torch.zeros_like(ids)
        for k in range(max(len(pieces[slot]) for slot in slots)):
            chosen = [pieces[slot][k] if k < len(pieces[slot]) else _Piece(1, 1, 0) for slot in slots]
            first, last, start = (
                torch.tensor([getattr(p, name) for p in chosen], dtype=ids.dtype, device=ids.device)
                for name in ("first", "last", "start")
            )
            local = torch.where((ids >= first) & (ids < last), ids - first + start, local)
        return local
