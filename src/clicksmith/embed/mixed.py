"""`Mixed`: a table whose vectors are stored at their size, block by block of ids (what a Plan's columns become)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.errors import CompositionError
from clicksmith.kernels import ops


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
    """A store per width. An id's block is found by comparing it with the few bounds of its slot.

    The places of a batch are sorted by store, and each store is read for its own places alone.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    bounds: Tensor
    home: Tensor
    shift: Tensor
    which: Tensor

    def __init__(
        self, shape: TableShape, blocks: dict[str, list[tuple[int, int, tuple[int, ...]]]], std: float
    ) -> None:
        super().__init__()
        self.dim = shape.dim
        self.numbers = {slot: i for i, slot in enumerate(blocks)}
        widths = sorted({len(columns) for found in blocks.values() for *_, columns in found if columns})
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
        self.prefix = [all(p.columns == tuple(range(w)) for p in own) for own, w in zip(pieces, widths, strict=True)]
        self._index(blocks)

    def _index(self, blocks: dict[str, list[tuple[int, int, tuple[int, ...]]]]) -> None:
        """Make the small tensors that say where a block lies: all [1 + blocks, slots], row 0 for padding."""
        stores = cast("list[RowStore]", list(self.stores))
        most = max((len(found) for found in blocks.values()), default=0)
        bounds = torch.full((most, len(blocks)), BEYOND, dtype=torch.int32)
        home = torch.full((most + 1, len(blocks)), len(stores), dtype=torch.int64)  # no store: zeros
        shift, which = torch.zeros_like(home), torch.zeros_like(home)
        at = {(p.slot, p.first): (p, n) for own in self.pieces for n, p in enumerate(own)}
        for slot, s in self.numbers.items():
            for b, (first, _, columns) in enumerate(blocks[slot]):
                bounds[b, s] = first
                if columns:
                    piece, number = at[slot, first]
                    home[b + 1, s], which[b + 1, s] = piece.store, number
                    shift[b + 1, s] = stores[piece.store].starts[slot] + piece.start - first
        for name, tensor in (("bounds", bounds), ("home", home), ("shift", shift), ("which", which)):
            self.register_buffer(name, tensor, persistent=False)
        for i, own in enumerate(self.pieces):
            self.register_buffer(f"columns{i}", torch.tensor([p.columns for p in own]), persistent=False)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        own = [self.numbers[slot] for slot in slots]
        passed = torch.zeros_like(ids, dtype=torch.int64)
        for bound in self.bounds[:, own]:
            passed = passed + (ids >= bound)
        block = passed * len(self.numbers) + torch.tensor(own, device=ids.device)
        home, which = self.home.flatten()[block], self.which.flatten()[block]
        rows = ids.long() + self.shift.flatten()[block]
        weight = next(self.parameters(), None)
        dtype = torch.float32 if weight is None else ops.row_dtype(weight.new_empty((0, self.dim)))
        if ops.traced():
            return self._traced(rows, home, which, dtype)
        flat = home.flatten()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=len(self.stores) + 1).tolist()
        rows, which = rows.flatten(), which.flatten()
        at, columns, vectors = list[Tensor](), list[Tensor | None](), list[Tensor]()
        for i, (store, places) in enumerate(zip(self.stores, order.split(counts), strict=False)):
            if len(places):
                mine = rows[places].unsqueeze(1).to(ids.dtype)
                vectors.append(store(mine, torch.zeros(1, dtype=torch.int64, device=ids.device)).squeeze(1))
                at.append(places)
                columns.append(None if self.prefix[i] else getattr(self, f"columns{i}")[which[places]])
        shape = (*ids.shape, self.dim)
        if not vectors:
            return torch.zeros(shape, dtype=dtype, device=ids.device)
        return cast("Tensor", _Place.apply(shape, dtype, at, columns, *vectors))

    def _traced(self, rows: Tensor, home: Tensor, which: Tensor, dtype: torch.dtype) -> Tensor:
        """Read every store for every place, without shapes that depend on values."""
        out = torch.zeros((*rows.shape, self.dim), dtype=dtype, device=rows.device)
        for i, store in enumerate(cast("Iterable[RowStore]", self.stores)):
            here = home == i
            vectors = store(torch.where(here, rows, 0), torch.zeros(1, dtype=torch.int64, device=rows.device))
            vectors = torch.cat([vectors, torch.zeros_like(vectors[..., :1])], -1).to(dtype)
            source = torch.full((len(self.pieces[i]), self.dim), store.dim, dtype=torch.int64)  # the zero at the end
            for n, piece in enumerate(self.pieces[i]):
                source[n, list(piece.columns)] = torch.arange(store.dim)
            source = source.to(rows.device)[torch.where(here, which, 0)]
            out = out + vectors.gather(-1, source) * here.unsqueeze(-1)
        return out

    @torch.no_grad()
    def fill(self, weight: Tensor, starts: dict[str, int]) -> None:
        """Take the numbers of a plain table [rows, dim], whose slots begin at the rows `starts`."""
        for own, store in zip(self.pieces, cast("Iterable[RowStore]", self.stores), strict=True):
            for piece in own:
                to, source = store.starts[piece.slot] + piece.start, starts[piece.slot]
                taken = weight[source + piece.first : source + piece.last]
                store.weight[to : to + piece.last - piece.first] = taken[:, list(piece.columns)]


class _Place(torch.autograd.Function):
    """Put vectors of several widths in their columns at their places of one tensor; the rest is zero."""

    @staticmethod
    def forward(
        ctx: Any,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        at: list[Tensor],
        columns: list[Tensor | None],
        *vectors: Tensor,
    ) -> Tensor:
        out = torch.zeros(shape, dtype=dtype, device=vectors[0].device)
        flat = out.view(-1, shape[-1])
        for places, own, some in zip(at, columns, vectors, strict=True):
            some = some.to(dtype)
            if own is None:
                flat[:, : some.shape[1]].index_copy_(0, places, some)
            else:
                wide = torch.zeros((len(places), shape[-1]), dtype=dtype, device=out.device)
                flat.index_copy_(0, places, wide.scatter_(1, own, some))
        ctx.at, ctx.columns, ctx.of = at, columns, [(v.shape[1], v.dtype) for v in vectors]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        flat = grads[0].reshape(-1, grads[0].shape[-1])
        found: list[Tensor] = []
        for places, own, (width, dtype) in zip(ctx.at, ctx.columns, ctx.of, strict=True):
            some = flat[:, :width] if own is None else flat
            some = some.index_select(0, places)
            found.append((some if own is None else some.gather(1, own)).to(dtype))
        return None, None, None, None, *found
