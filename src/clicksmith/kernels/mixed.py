"""Rows of several widths: ids lie in pieces, the pieces of one width in one store; in C, with torch as the fall-back.

Rows are numbered through all stores, one after another (the global row), so that the gradients of a batch are merged
once for all of them and dealt out when they are few.
"""

import ctypes
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from clicksmith.kernels import ops
from clicksmith.kernels.ops import native_for


@dataclass(frozen=True, slots=True)
class Pieces:
    """Where the vectors of a table lie. The global row of an id is the id plus the shift of its piece.

    Shape:
        bounds: [most, slots] int32: where the blocks of a slot begin, rising, then a number above every id
        piece:  [most + 1, slots]: the piece of each block, -1 where it has no columns; the first row is padding
        sizes:  [slots]: ids of each slot
        shift, store, prefix: [pieces]; `prefix` says whether its columns are the first ones
        begin:  [pieces]: first global row, rising
        columns: [pieces, dim] int32: where the numbers of a vector stand, in the first entries
        width:  [stores];  first: [stores + 1]: first global rows
    """

    bounds: Tensor
    piece: Tensor
    sizes: Tensor
    shift: Tensor
    store: Tensor
    begin: Tensor
    columns: Tensor
    prefix: Tensor
    width: Tensor
    first: Tensor
    shapes: tuple[tuple[int, int], ...]
    """Of the stores: rows and width."""

    def address(self) -> Any:
        """Return the tensors as the kernels take them; to be held while they are in use."""
        tensors = (self.bounds, self.piece, self.sizes, self.shift, self.store, self.begin)
        tensors += (self.columns, self.prefix, self.width, self.first)
        most, slots = self.bounds.shape
        sizes = (slots, most, len(self.shift), len(self.shapes), self.columns.shape[1])
        return (ctypes.c_int64 * 15)(*(t.data_ptr() for t in tensors), *sizes)


def lookup(stores: list[Any], pieces: Pieces, ids: Tensor, slots: Tensor, dtype: torch.dtype) -> Tensor:
    """Look up ids [..., columns], local to the slots [columns] of that number, in stores of rows: [..., columns, dim].

    As `ops.lookup`: gradients go to the sinks of stores that have one, else into a dense `weight.grad`.
    """
    weights = tuple(cast("Tensor", store.weight) for store in stores)
    for weight, shape in zip(weights, pieces.shapes, strict=True):
        if tuple(weight.shape) != shape:
            raise IndexError(f"a store holds weights {tuple(weight.shape)} where the table has {shape}.")
    rows, found = rows_of(pieces, ids.contiguous(), slots)
    late = [
        s.sink is not None and s.sink.catches_up and isinstance(w, nn.Parameter)
        for s, w in zip(stores, weights, strict=True)
    ]
    if any(late):
        for store, catches_up, (mine, _) in zip(stores, late, split(pieces, rows.flatten()), strict=True):
            if catches_up:
                store.sink.before(mine)
    if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
        return cast("Tensor", _Lookup.apply(stores, pieces, rows, found, dtype, *weights))
    return gather(pieces, weights, rows, found, dtype)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, stores: list[Any], pieces: Pieces, rows: Tensor, found: Tensor, dtype: torch.dtype, *weights: Tensor
    ) -> Tensor:
        ctx.sinks = [s.sink if isinstance(w, nn.Parameter) else None for s, w in zip(stores, weights, strict=True)]
        ctx.pieces, ctx.dtypes = pieces, [w.dtype for w in weights]
        ctx.save_for_backward(rows)
        return gather(pieces, weights, rows, found, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rows,), grad, wanted = ctx.saved_tensors, grads[0], ctx.needs_input_grad[5:]
        dealt = split(ctx.pieces, *ops.merge(rows, grad.detach()))
        for (mine, sums), sink, needed in zip(dealt, ctx.sinks, wanted, strict=True):
            if sink is not None and needed:
                sink.collect(mine, sums)
        twice = torch.is_grad_enabled()  # a second derivative is wanted: operations that have one, on every place
        if twice:
            dealt = split(ctx.pieces, rows.flatten(), grad.flatten(0, -2))
        found: list[Tensor | None] = []
        for (mine, sums), sink, needed, shape, dtype in zip(
            dealt, ctx.sinks, wanted, ctx.pieces.shapes, ctx.dtypes, strict=True
        ):
            if sink is not None or not needed:
                found.append(None)
                continue
            dense = torch.zeros(shape, dtype=dtype, device=grad.device)
            if twice:
                dense = dense.index_add(0, mine, cast("Tensor", sums).to(dtype))
            else:
                ops.add_rows(dense, mine, cast("Tensor", sums))
            found.append(dense)
        return None, None, None, None, None, *found


def rows_of(pieces: Pieces, ids: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Return the global rows and the pieces of ids, -1 for padding and for ids without columns.

    Raises IndexError on the processor: an id is outside its slot. Shape: ids [..., columns]; slots [columns]; both
    results as ids.
    """
    kernels = native_for(ids, slots, pieces.bounds) if ids.dtype == torch.int32 else None
    if kernels is None:
        if ids.device.type == "cpu" and bool(((ids < 0) | (ids >= pieces.sizes[slots])).any()):
            raise _outside(ids)
        return traced_rows(pieces, ids, slots)
    rows, found = torch.empty(ids.shape, dtype=torch.int64), torch.empty(ids.shape, dtype=torch.int32)
    bad = kernels.cs_mixed_rows(
        pieces.address(), ids.data_ptr(), slots.data_ptr(), rows.data_ptr(), found.data_ptr(),
        ids.numel() // max(1, len(slots)), len(slots), torch.get_num_threads(),
    )  # fmt: skip
    if bad:
        raise _outside(ids)
    return rows, found


def _outside(ids: Tensor) -> IndexError:
    return IndexError(f"an id is outside its table: smallest {int(ids.min())}, largest {int(ids.max())}.")


def traced_rows(pieces: Pieces, ids: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `rows_of` does, by torch operations without shapes or questions that depend on values."""
    passed = torch.zeros_like(ids, dtype=torch.int64)
    for bound in pieces.bounds[:, slots]:
        passed = passed + (ids >= bound)
    found = pieces.piece[passed, slots]
    return torch.where(found < 0, -1, ids + pieces.shift[found]), found


def gather(pieces: Pieces, weights: tuple[Tensor, ...], rows: Tensor, found: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the vectors at global rows [...] of the pieces found [...], the columns without numbers 0: [..., dim]."""
    shape = (*rows.shape, pieces.columns.shape[1])
    kernels = native_for(*weights, rows, found, pieces.bounds) if found.dtype == torch.int32 else None
    plain = all(weight.dtype == torch.float32 for weight in weights)
    if kernels is not None and plain and dtype in (torch.float32, torch.bfloat16):
        out = torch.empty(shape, dtype=dtype)
        addresses = (ctypes.c_int64 * len(weights))(*(w.data_ptr() for w in weights))
        kernels.cs_mixed_gather(
            pieces.address(), addresses, rows.data_ptr(), found.data_ptr(), out.data_ptr(), rows.numel(),
            dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        return out
    out = torch.zeros(shape, dtype=dtype, device=rows.device)
    flat, rows, found = out.view(-1, shape[-1]), rows.flatten(), found.flatten().long()
    store = torch.where(found < 0, len(weights), pieces.store[found])
    for i, weight in enumerate(weights):
        at = (store == i).nonzero().squeeze(1)
        columns = pieces.columns[found[at], : weight.shape[1]].long()
        vectors = weight[rows[at] - pieces.first[i]].to(dtype)
        flat.index_copy_(0, at, vectors.new_zeros(len(at), shape[-1]).scatter(1, columns, vectors))
    return out


def split(pieces: Pieces, rows: Tensor, grad: Tensor | None = None) -> list[tuple[Tensor, Tensor | None]]:
    """Deal global rows [n] (-1: none) to their stores: of each, its own row numbers [m] and the gradient [m, width].

    Of a gradient [n, dim] the numbers of the row's columns are taken. They stay in their order.
    """
    kernels = native_for(rows, pieces.bounds) if grad is None else native_for(rows, grad, pieces.bounds)
    if kernels is None or (grad is not None and (grad.dtype != torch.float32 or grad.requires_grad)):
        return [_of_store(pieces, i, rows, grad) for i in range(len(pieces.shapes))]
    out_rows, counts = torch.empty_like(rows), (ctypes.c_int64 * len(pieces.shapes))()
    out_grad = None if grad is None else torch.empty(grad.numel(), dtype=torch.float32)
    failed = kernels.cs_mixed_split(
        pieces.address(), rows.data_ptr(), ops.pointer(grad), out_rows.data_ptr(), ops.pointer(out_grad), counts,
        rows.numel(), torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("no memory to deal out the gradients of embedding rows; use a smaller batch.")
    dealt: list[tuple[Tensor, Tensor | None]] = []
    at = number = 0
    for count, (_, width) in zip(counts, pieces.shapes, strict=True):
        sums = None if out_grad is None else out_grad[number : number + count * width].view(count, width)
        dealt.append((out_rows[at : at + count], sums))
        at, number = at + count, number + count * width
    return dealt


def _of_store(pieces: Pieces, store: int, rows: Tensor, grad: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the rows of one store, and their gradient."""
    first, end = pieces.first[store], pieces.first[store + 1]
    at = ((rows >= first) & (rows < end)).nonzero().squeeze(1)
    mine = rows[at]
    if grad is None:
        return mine - first, None
    piece = torch.searchsorted(pieces.begin, mine, right=True) - 1
    return mine - first, grad[at].gather(1, pieces.columns[piece, : pieces.shapes[store][1]].long())
