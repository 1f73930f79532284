"""`Mixed`: a table whose vectors are stored at their size, block by block of ids (what a Plan's columns become)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotNumbers
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.errors import CompositionError
from clicksmith.kernels import ops
from clicksmith.kernels.mixed import Pieces, lookup, traced_rows


class MixedBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids `first` ... `last` - 1 of a slot have these columns; the others are zero and take no memory."""

    slot: str
    first: int
    last: int
    columns: tuple[int, ...]


class Mixed(Table, frozen=True):
    """A vector per id with the columns of its block; ids in no block (padding, unseen) have all.

    It equals the plain table whose other columns are held at zero. Vectors of one width lie in one store.
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
    """The ids `first` ... `last` - 1 of a slot lie in store `store` from local row `start` on."""

    slot: str
    first: int
    last: int
    columns: tuple[int, ...]
    store: int
    start: int


BEYOND = torch.iinfo(torch.int32).max
"""Above every id: a bound that is never reached."""


class MixedTable(nn.Module):
    """A store per width. An id's piece is found by comparing it with the few bounds of its slot.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    def __init__(
        self, shape: TableShape, blocks: dict[str, list[tuple[int, int, tuple[int, ...]]]], std: float
    ) -> None:
        super().__init__()
        self.dim = shape.dim
        self.numbers = {slot: i for i, slot in enumerate(blocks)}
        widths = tuple(sorted({len(columns) for found in blocks.values() for *_, columns in found if columns}))
        pieces: list[list[_Piece]] = []
        stores: list[RowStore] = []
        for i, width in enumerate(widths):
            own, sizes = list[_Piece](), list[tuple[str, int]]()
            for slot, found in blocks.items():
                rows = 1  # its padding row
                for first, last, columns in found:
                    if len(columns) == width:
                        own.append(_Piece(slot, first, last, columns, i, rows))
                        rows += last - first
                if rows > 1:
                    sizes.append((slot, rows))
            store = RowStore(tuple(sizes), width, std=std)
            runs = ([(slot, 0, 1), *((p.slot, p.first, p.last) for p in own if p.slot == slot)] for slot, _ in sizes)
            store.runs = tuple(run for found in runs for run in found)
            pieces.append(own)
            stores.append(store)
        self.pieces = pieces
        self.stores = nn.ModuleList(stores)
        for name, tensor in self._index(shape, blocks).items():
            self.register_buffer(name, tensor, persistent=False)
        self.slots = SlotNumbers(self.numbers)

    def _index(self, shape: TableShape, blocks: dict[str, list[tuple[int, int, tuple[int, ...]]]]) -> dict[str, Tensor]:
        """Return the small tensors of `Pieces`, by name."""
        stores = cast("list[RowStore]", list(self.stores))
        first = [0, *accumulate(len(store.weight) for store in stores)]
        every = [piece for own in self.pieces for piece in own]
        begin = [first[p.store] + stores[p.store].starts[p.slot] + p.start for p in every]
        numbers = {(p.slot, p.first): n for n, p in enumerate(every)}
        most = max((len(found) for found in blocks.values()), default=0)
        bounds = torch.full((most, len(blocks)), BEYOND, dtype=torch.int32)
        piece = torch.full((most + 1, len(blocks)), -1)
        for slot, s in self.numbers.items():
            for b, (start, *_) in enumerate(blocks[slot]):
                bounds[b, s] = start
                piece[b + 1, s] = numbers.get((slot, start), -1)
        columns = torch.zeros((len(every), self.dim), dtype=torch.int32)
        for n, p in enumerate(every):
            columns[n, : len(p.columns)] = torch.tensor(p.columns)
        return {
            "bounds": bounds,
            "piece": piece,
            "sizes": torch.tensor([rows for _, rows in shape.slots], dtype=torch.int64),
            "shift": torch.tensor([start - p.first for start, p in zip(begin, every, strict=True)], dtype=torch.int64),
            "store": torch.tensor([p.store for p in every], dtype=torch.int64),
            "begin": torch.tensor(begin, dtype=torch.int64),
            "columns": columns,
            "prefix": torch.tensor([p.columns == tuple(range(len(p.columns))) for p in every], dtype=torch.int64),
            "width": torch.tensor([store.dim for store in stores], dtype=torch.int64),
            "first": torch.tensor(first),
        }

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        stores = cast("list[RowStore]", list(self.stores))
        if not stores:
            return torch.zeros((*ids.shape, self.dim), device=ids.device)
        dtype = ops.row_dtype(stores[0].weight.new_empty((0, self.dim)))
        buffers = dict(self.named_buffers(recurse=False))
        pieces = Pieces(**buffers, shapes=tuple((sum(n for _, n in s.slots), s.dim) for s in stores))
        read, numbers = self._traced if ops.traced() else partial(lookup, stores), self.slots(slots, ids.device)
        return read(pieces, ids, numbers, dtype)

    def _traced(self, pieces: Pieces, ids: Tensor, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """Read every store for every place, without shapes that depend on values."""
        rows, found = traced_rows(pieces, ids, slots)
        out = torch.zeros((*rows.shape, self.dim), dtype=dtype, device=rows.device)
        for i, store in enumerate(cast("Iterable[RowStore]", self.stores)):
            here = (found >= 0) & (pieces.store[found] == i)
            at = torch.where(here, rows - pieces.first[i], 0)
            vectors = store(at, torch.zeros(1, dtype=torch.int64, device=rows.device)).to(dtype)
            columns = pieces.columns[torch.where(here, found, 0), : store.dim].long()
            placed = torch.zeros_like(out).scatter(-1, columns, vectors)
            out = out + placed * here.unsqueeze(-1)
        return out

    @torch.no_grad()
    def fill(self, weight: Tensor, starts: dict[str, int]) -> None:
        """Take the numbers of a plain table [rows, dim], whose slots begin at the rows `starts`."""
        for own, store in zip(self.pieces, cast("Iterable[RowStore]", self.stores), strict=True):
            for piece in own:
                to, source = store.starts[piece.slot] + piece.start, starts[piece.slot]
                taken = weight[source + piece.first : source + piece.last]
                store.weight[to : to + piece.last - piece.first] = taken[:, list(piece.columns)]
