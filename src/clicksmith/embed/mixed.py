"""`Mixed`: a table whose vectors are stored at their size, block by block of ids (what a Plan's columns become)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.encode.layout import PADDING, UNSEEN
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


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns of a batch whose main blocks lie in one store."""

    store: int
    at: tuple[int, ...]
    """Which columns of the batch."""
    starts: Tensor
    """The first rows of their slots: [columns]."""
    columns: tuple[tuple[int, ...], ...]
    """Where the numbers of their vectors stand."""


@dataclass(frozen=True, slots=True)
class _Main:
    """The main blocks of some columns, those of their most frequent ids: `first`, `last`, `shift` are [columns]."""

    first: Tensor
    last: Tensor
    shift: Tensor
    """From an id to its row among those of its slot."""
    groups: tuple[_Group, ...]


class MixedTable(nn.Module):
    """A store per width. An id's block is found by comparing it with the few bounds of its slot.

    The ids of a column lie in one block for the most part (that of the most frequent ids), so each store is read for
    whole columns at once; the places of other blocks are sorted by store, and each is read for its own.

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
        at = {(p.slot, p.first): p for own in pieces for p in own}
        # ids are numbered by frequency: the main block of a slot is that of its first known id
        self.main = {
            slot: (first, last, at.get((slot, first)))
            for slot, found in blocks.items()
            for first, last, _ in found
            if first <= UNSEEN + 1 < last
        }
        self.known: dict[tuple[tuple[str, ...], torch.device], _Main] = {}
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
        own = torch.tensor([self.numbers[slot] for slot in slots], device=ids.device)
        weight = next(self.parameters(), None)
        dtype = torch.float32 if weight is None else ops.row_dtype(weight.new_empty((0, self.dim)))
        if ops.traced():
            return self._traced(*self._located(ids, own), dtype)
        main = self._main(slots, ids.device)
        inside = (ids >= main.first) & (ids < main.last)
        local = (ids - main.shift).masked_fill_(~inside, PADDING)
        looked = [self.stores[g.store](_columns(local, g.at), g.starts) for g in main.groups]
        rest = (inside.logical_not_() & (ids > PADDING)).flatten().nonzero().squeeze(1)
        places, columns, others = self._others(ids.flatten()[rest], own[rest % len(slots)], rest)
        shape = (*ids.shape, self.dim)
        if not looked and not others:
            return torch.zeros(shape, dtype=dtype, device=ids.device)
        return cast("Tensor", _Place.apply(shape, dtype, main.groups, places, columns, *looked, *others))

    def _located(self, ids: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of ids in their stores, the numbers of these and of their pieces; `own` numbers the slots."""
        passed = torch.zeros_like(ids, dtype=torch.int64)
        for bound in self.bounds[:, own]:
            passed = passed + (ids >= bound)
        block = passed * len(self.numbers) + own
        return ids.long() + self.shift.flatten()[block], self.home.flatten()[block], self.which.flatten()[block]

    def _main(self, slots: tuple[str, ...], device: torch.device) -> _Main:
        """Return the main blocks of some columns."""
        if (slots, device) not in self.known:
            with torch.inference_mode(False):  # made while scoring, it serves training too
                self.known[slots, device] = self._main_made(slots, device)
        return self.known[slots, device]

    def _main_made(self, slots: tuple[str, ...], device: torch.device) -> _Main:
        blocks = [self.main.get(slot, (BEYOND, BEYOND, None)) for slot in slots]
        groups: list[_Group] = []
        for i, store in enumerate(cast("Iterable[RowStore]", self.stores)):
            mine = {c: piece.columns for c, (*_, piece) in enumerate(blocks) if piece is not None and piece.store == i}
            if mine:
                starts = torch.tensor([store.starts[slots[c]] for c in mine], dtype=torch.int64, device=device)
                groups.append(_Group(i, tuple(mine), starts, tuple(mine.values())))
        ends = [(first, last, 0 if piece is None else first - piece.start) for first, last, piece in blocks]
        first, last, shift = torch.tensor(ends, dtype=torch.int32, device=device).reshape(-1, 3).T.contiguous()
        return _Main(first, last, shift, tuple(groups))

    def _others(
        self, ids: Tensor, own: Tensor, places: Tensor
    ) -> tuple[list[Tensor], list[Tensor | None], list[Tensor]]:
        """Return places sorted by store, the columns of their vectors (None: the first ones), and the vectors.

        Shape:
            ids, own, places: [places]
        """
        if not len(places):
            return [], [], []
        rows, home, which = self._located(ids, own)
        order = torch.argsort(home, stable=True)
        counts = torch.bincount(home, minlength=len(self.stores) + 1).tolist()
        at, columns, vectors = list[Tensor](), list[Tensor | None](), list[Tensor]()
        for i, (store, mine) in enumerate(zip(self.stores, order.split(counts), strict=False)):
            if len(mine):
                local = rows[mine].unsqueeze(1).to(ids.dtype)
                vectors.append(store(local, torch.zeros(1, dtype=torch.int64, device=ids.device)).squeeze(1))
                at.append(places[mine])
                columns.append(None if self.prefix[i] else getattr(self, f"columns{i}")[which[mine]])
        return at, columns, vectors

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
    """Put vectors of several widths in their columns at their places of one tensor; the rest is zero.

    First the vectors of whole columns of ids [..., columns, width], then those of other places [places, width].
    """

    @staticmethod
    def forward(
        ctx: Any,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        groups: tuple[_Group, ...],
        places: list[Tensor],
        columns: list[Tensor | None],
        *vectors: Tensor,
    ) -> Tensor:
        out = torch.zeros(shape, dtype=dtype, device=vectors[0].device)
        for group, some in zip(groups, vectors, strict=False):
            for j, (c, own) in enumerate(zip(group.at, group.columns, strict=True)):
                _put(out.select(-2, c), own, some.select(-2, j))
        flat = out.view(-1, shape[-1])
        for at, own, some in zip(places, columns, vectors[len(groups) :], strict=True):
            some = some.to(dtype)
            if own is None:
                flat[:, : some.shape[1]].index_copy_(0, at, some)
            else:
                wide = torch.zeros((len(at), shape[-1]), dtype=dtype, device=out.device)
                flat.index_copy_(0, at, wide.scatter_(1, own, some))
        ctx.groups, ctx.places, ctx.columns, ctx.of = groups, places, columns, [(v.shape, v.dtype) for v in vectors]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        found: list[Tensor] = []
        for group, (shape, dtype) in zip(ctx.groups, ctx.of, strict=False):
            some = torch.empty(shape, dtype=dtype, device=grads[0].device)
            for j, (c, own) in enumerate(zip(group.at, group.columns, strict=True)):
                some.select(-2, j).copy_(_taken(grads[0].select(-2, c), own))
            found.append(some)
        flat = grads[0].reshape(-1, grads[0].shape[-1])
        for at, own, (shape, dtype) in zip(ctx.places, ctx.columns, ctx.of[len(ctx.groups) :], strict=True):
            some = flat[:, : shape[1]] if own is None else flat
            some = some.index_select(0, at)
            found.append((some if own is None else some.gather(1, own)).to(dtype))
        return None, None, None, None, None, *found


def _put(into: Tensor, columns: tuple[int, ...], vectors: Tensor) -> None:
    """Write vectors [..., width] to columns of [..., dim]."""
    if columns == tuple(range(len(columns))):
        into[..., : len(columns)] = vectors
    else:
        into[..., list(columns)] = vectors.to(into.dtype)


def _taken(vectors: Tensor, columns: tuple[int, ...]) -> Tensor:
    """Return columns of vectors [..., dim]."""
    return vectors[..., : len(columns)] if columns == tuple(range(len(columns))) else vectors[..., list(columns)]


def _columns(ids: Tensor, at: tuple[int, ...]) -> Tensor:
    """Return columns of ids [..., columns]."""
    if at == tuple(range(at[0], at[-1] + 1)):
        return ids[..., at[0] : at[-1] + 1]
    return ids[..., list(at)]
