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
    widths: tuple[int, ...]

    def address(self) -> Any:
        """Return the tensors as the kernels take them; to be held while they are in use."""
        tensors = (self.bounds, self.piece, self.sizes, self.shift, self.store, self.begin)
        tensors += (self.columns, self.prefix, self.width, self.first)
        most, slots = self.bounds.shape
        sizes = (slots, most, len(self.shift), len(self.widths), self.columns.shape[1])
        return (ctypes.c_int64 * 15)(*(t.data_ptr() for t in tensors), *sizes)


def rows_of(pieces: Pieces, ids: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return the global rows and the pieces of ids, -1 for padding and for ids without columns.

    Raises IndexError: an id is outside its slot. Shape: ids [..., columns]; own [columns], the slot of each column;
    both results as ids.
    """
    kernels = native_for(ids, own) if ids.dtype == torch.int32 else None
    if kernels is None:
        return located(pieces, ids, own)
    rows, found = torch.empty(ids.shape, dtype=torch.int64), torch.empty(ids.shape, dtype=torch.int32)
    bad = kernels.cs_mixed_rows(
        pieces.address(), ids.data_ptr(), own.data_ptr(), rows.data_ptr(), found.data_ptr(),
        ids.numel() // max(1, len(own)), len(own), torch.get_num_threads(),
    )  # fmt: skip
    if bad:
        raise IndexError(f"an id is outside its table: smallest {int(ids.min())}, largest {int(ids.max())}.")
    return rows, found


def located(pieces: Pieces, ids: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `rows_of` does, by torch operations without shapes that depend on values."""
    passed = torch.zeros_like(ids, dtype=torch.int64)
    for bound in pieces.bounds[:, own]:
        passed = passed + (ids >= bound)
    found = pieces.piece[passed, own]
    return torch.where(found < 0, -1, ids + pieces.shift[found]), found


def gather(pieces: Pieces, weights: tuple[Tensor, ...], rows: Tensor, found: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the vectors at global rows [...] of the pieces found [...], the columns without numbers 0: [..., dim]."""
    dim = pieces.columns.shape[1]
    out = torch.zeros((*rows.shape, dim), dtype=dtype, device=rows.device)
    kernels = native_for(*weights, rows, found) if found.dtype == torch.int32 else None
    if kernels is not None and dtype in (torch.float32, torch.bfloat16) and weights[0].dtype == torch.float32:
        addresses = (ctypes.c_int64 * len(weights))(*(w.data_ptr() for w in weights))
        kernels.cs_mixed_gather(
            pieces.address(), addresses, rows.data_ptr(), found.data_ptr(), out.data_ptr(), rows.numel(),
            dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        return out
    flat, rows, found = out.view(-1, dim), rows.flatten(), found.flatten().long()
    store = torch.where(found < 0, len(weights), pieces.store[found])
    for i, weight in enumerate(weights):
        at = (store == i).nonzero().squeeze(1)
        columns = pieces.columns[found[at], : weight.shape[1]].long()
        vectors = weight[rows[at] - pieces.first[i]].to(dtype)
        flat.index_copy_(0, at, vectors.new_zeros(len(at), dim).scatter(1, columns, vectors))
    return out


def split(pieces: Pieces, rows: Tensor, grad: Tensor | None = None) -> list[tuple[Tensor, Tensor | None]]:
    """Deal global rows [n] (-1: none) to their stores: of each, its own row numbers [m] and the gradient [m, width].

    Of a gradient [n, dim] the numbers of the row's columns are taken. They stay in their order.
    """
    kernels = native_for(rows) if grad is None else native_for(rows, grad)
    if kernels is None or (grad is not None and (grad.dtype != torch.float32 or grad.requires_grad)):
        return [_own(pieces, i, rows, grad) for i in range(len(pieces.widths))]
    out_rows, counts = torch.empty_like(rows), (ctypes.c_int64 * len(pieces.widths))()
    out_grad = None if grad is None else torch.empty(grad.numel())
    failed = kernels.cs_mixed_split(
        pieces.address(), rows.data_ptr(), ops.pointer(grad), out_rows.data_ptr(), ops.pointer(out_grad), counts,
        rows.numel(), torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("no memory to deal out the gradients of embedding rows; use a smaller batch.")
    found: list[tuple[Tensor, Tensor | None]] = []
    at = number = 0
    for count, width in zip(counts, pieces.widths, strict=True):
        own = None if out_grad is None else out_grad[number : number + count * width].view(count, width)
        found.append((out_rows[at : at + count], own))
        at, number = at + count, number + count * width
    return found


def _own(pieces: Pieces, store: int, rows: Tensor, grad: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the rows of one store, and their gradient."""
    first, end = pieces.first[store], pieces.first[store + 1]
    at = ((rows >= first) & (rows < end)).nonzero().squeeze(1)
    own = rows[at]
    if grad is None:
        return own - first, None
    piece = torch.searchsorted(pieces.begin, own, right=True) - 1
    return own - first, grad[at].gather(1, pieces.columns[piece, : pieces.widths[store]].long())


def lookup(stores: list[Any], pieces: Pieces, ids: Tensor, own: Tensor, dtype: torch.dtype) -> Tensor:
    """Look up ids [..., columns], local to their slots own [columns], in stores of rows: [..., columns, dim].

    As `ops.lookup`: gradients go to the sinks of stores that have one, else into a dense `weight.grad`.
    """
    rows, found = rows_of(pieces, ids.contiguous(), own)
    weights = tuple(cast("Tensor", store.weight) for store in stores)
    late = [s.sink is not None and s.sink.catches_up and isinstance(s.weight, nn.Parameter) for s in stores]
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
        ctx.pieces, ctx.like = pieces, [(w.shape, w.dtype) for w in weights]
        ctx.save_for_backward(rows)
        return gather(pieces, weights, rows, found, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rows,), grad = ctx.saved_tensors, grads[0]
        twice = torch.is_grad_enabled()  # a second derivative is wanted: operations that have one
        rows, grad = (rows.flatten(), grad.flatten(0, -2)) if twice else ops.merge(rows, grad)
        found: list[Tensor | None] = []
        parts = split(ctx.pieces, rows, grad)
        for (own, mine), sink, (shape, dtype), wanted in zip(
            parts, ctx.sinks, ctx.like, ctx.needs_input_grad[5:], strict=True
        ):
            assert mine is not None
            if sink is not None:
                sink.collect(own, mine.detach())
            dense = sink is None and wanted
            found.append(mine.new_zeros(shape, dtype=dtype).index_add(0, own, mine.to(dtype)) if dense else None)
        return None, None, None, None, None, *found
