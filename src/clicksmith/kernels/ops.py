"""The operations on embedding rows, each with torch operations as the fall-back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from clicksmith.errors import UsageError
from clicksmith.kernels import native

if TYPE_CHECKING:
    from clicksmith.embed.rows import RowStore

LOW_PRECISION_DIM = 4
"""Rows shorter than this stay in float32 under autocast: they are summed into logits, and are cheap anyway."""


def lookup(store: RowStore, ids: Tensor, offsets: Tensor) -> Tensor:
    """Look up ids [..., columns], local to their slot, in the store's table: [..., columns, dim].

    float32, or the lower precision under autocast. The gradient goes to the store's sink if it has one, else into a
    dense `weight.grad`; padding (id 0) gets none.

    Raises:
        IndexError: an id is outside the table.
        UsageError: a gradient is wanted of a traced lookup, which would pass the sink by.
    """
    weight, dtype = store.weight, row_dtype(store.weight)
    sink = store.sink if isinstance(weight, nn.Parameter) else None
    trained = torch.is_grad_enabled() and weight.requires_grad
    if traced():
        if sink is not None and trained:
            raise UsageError(
                f"a table of {len(weight)} rows has an optimiser of its own, which gets no gradient through "
                "torch.compile, torch.jit, torch.export, torch.func or a mode that watches operations; train without "
                "them, or trace under torch.no_grad() or after the optimisers' detach()."
            )
        return weight[ids + offsets].to(dtype)
    if sink is not None and sink.catches_up:
        rows = number(ids, offsets)
        if rows.numel() and int(rows.max()) >= len(weight):
            raise _outside(weight, ids, offsets)
        sink.before(rows)
    if trained:
        return cast("Tensor", _Lookup.apply(weight, ids, offsets, store, dtype))
    return _gather(weight, ids, offsets, dtype)


def traced() -> bool:
    """Return whether plain torch operations are needed: for torch.export, torch.compile, torch.jit.trace, a torch.func
    transform, derivatives in forward mode or a mode that watches operations, such as torch's counter of them.
    """
    return recorded() or _transformed() or _watching() > 0 or getattr(forward_ad, "_current_level", -1) >= 0


def recorded() -> bool:
    """Return whether a program is made of what runs: by torch.export, torch.compile or torch.jit.trace."""
    return torch.compiler.is_compiling() or _tracing()


_transformed = getattr(getattr(torch, "_C"), "_are_functorch_transforms_active", lambda: False)  # noqa: B009
_tracing = getattr(getattr(torch, "_C"), "_is_tracing", lambda: False)  # noqa: B009
_watching = getattr(getattr(torch, "_C"), "_len_torch_dispatch_stack", lambda: 0)  # noqa: B009


def row_dtype(weight: Tensor) -> torch.dtype:
    """Return the type rows are given in: the weight's own, or autocast's for float32 rows that are not short."""
    kind = weight.device.type
    if weight.dtype == torch.float32 and weight.shape[-1] >= LOW_PRECISION_DIM and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def native_for(*tensors: Tensor) -> Any:
    """Return the compiled kernels if they can work on these tensors, else None.

    Float tensors must be float32 or bfloat16, all on the processor and contiguous.
    """
    for t in tensors:
        if t.device.type != "cpu" or t.dtype not in _KNOWN or not t.is_contiguous():
            return None
    return native.library()


_KNOWN = (torch.float32, torch.bfloat16, torch.int32, torch.int64)


def pointer(t: Tensor | None) -> int | None:
    """Return where a tensor lies, as the kernels take it; None for no tensor."""
    return None if t is None else t.data_ptr()


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, offsets: Tensor, store: RowStore, dtype: torch.dtype) -> Tensor:
        ctx.sink = store.sink if isinstance(weight, nn.Parameter) else None
        ctx.shape, ctx.dtype = weight.shape, weight.dtype
        ctx.save_for_backward(ids, offsets)
        return _gather(weight, ids, offsets, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        ids, offsets = ctx.saved_tensors
        grad, rows = grads[0], number(ids, offsets)
        if ctx.sink is not None:
            ctx.sink.collect(*merge(rows, grad.detach()))
            return None, None, None, None, None
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            flat = grad.to(ctx.dtype).flatten(0, -2) * (rows >= 0).flatten().unsqueeze(-1)
            return flat.new_zeros(ctx.shape).index_add(0, rows.flatten().clamp(min=0), flat), None, None, None, None
        dense = torch.zeros(ctx.shape, dtype=ctx.dtype, device=grad.device)
        add_rows(dense, *merge(rows, grad))
        return dense, None, None, None, None


def _gather(weight: Tensor, ids: Tensor, offsets: Tensor, dtype: torch.dtype) -> Tensor:
    ids = ids.contiguous()
    kernels = native_for(weight, ids, offsets)
    if kernels is None or ids.dtype != torch.int32 or dtype not in _KNOWN:
        return weight[ids + offsets].to(dtype)
    columns, dim = offsets.shape[0], weight.shape[1]
    out = torch.empty((*ids.shape, dim), dtype=dtype)
    if ids.numel() == 0:
        return out
    bad = kernels.cs_lookup(
        weight.data_ptr(), ids.data_ptr(), offsets.data_ptr(), out.data_ptr(), ids.numel() // columns, columns, dim,
        weight.shape[0], columns * dim, 0, dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    if bad:
        raise _outside(weight, ids, offsets)
    return out


def _outside(weight: Tensor, ids: Tensor, offsets: Tensor) -> IndexError:
    low, high = int(ids.min()), int((ids + offsets).max())
    return IndexError(f"an id is outside its table: smallest {low}, largest row {high} of {weight.shape[0]}.")


def number(ids: Tensor, offsets: Tensor) -> Tensor:
    """Return the row numbers [..., columns] int64 of local ids; -1 for padding."""
    ids = ids.contiguous()
    kernels = native_for(ids, offsets)
    if kernels is None or ids.dtype != torch.int32 or ids.numel() == 0:
        return (ids + offsets).to(torch.int64).masked_fill(ids == 0, -1)
    rows, columns = torch.empty(ids.shape, dtype=torch.int64), offsets.shape[0]
    kernels.cs_number(
        ids.data_ptr(), offsets.data_ptr(), rows.data_ptr(), ids.numel() // columns, columns, torch.get_num_threads()
    )
    return rows


def merge(rows: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the gradients of equal rows: rows [...], grad [..., dim] -> distinct rows [n], sums [n, dim] in float32.

    Rows of -1 are dropped, and may stand in gaps of the answer. The order depends on the rows only, so results have
    the same bits for any number of threads.
    """
    dim, columns, stride = grad.shape[-1], 1, grad.shape[-1]
    if grad.dim() == 3 and grad.stride()[1:] == (dim, 1) and not grad.is_contiguous():
        columns, stride = grad.shape[1], grad.stride(0)  # some columns of a wider tensor: read where they are
    else:
        grad = grad.reshape(-1, dim).contiguous()
    rows = rows.flatten()
    kernels = native_for(rows) if grad.device == rows.device and grad.dtype in _KNOWN else None
    if kernels is None or rows.numel() >= 2**32:
        grad = grad.reshape(-1, dim)
        kept = rows >= 0
        unique, inverse = torch.unique(rows[kept], return_inverse=True)
        wide = torch.float64 if grad.dtype == torch.float64 else torch.float32
        sums = torch.zeros((unique.shape[0], dim), dtype=wide, device=grad.device)
        return unique, sums.index_add_(0, inverse, grad[kept].to(wide))
    out_rows, sums = torch.empty_like(rows), torch.empty((rows.shape[0], dim), dtype=torch.float32)
    used = kernels.cs_merge(
        rows.data_ptr(), grad.data_ptr(), out_rows.data_ptr(), sums.data_ptr(), rows.shape[0], dim, columns,
        stride, grad.dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    if used < 0:
        raise MemoryError("no memory to merge the gradients of embedding rows; use a smaller batch.")
    return out_rows[:used], sums[:used]


def add_rows(into: Tensor, rows: Tensor, grad: Tensor) -> None:
    """Add grad [n, dim] to the distinct rows [n] of `into`; rows of -1 are left out."""
    kernels = native_for(into, rows, grad)
    if kernels is None or into.dtype != torch.float32:
        kept = rows >= 0
        into.index_add_(0, rows[kept], grad[kept].to(into.dtype))
        return
    kernels.cs_add(
        into.data_ptr(), rows.data_ptr(), grad.data_ptr(), rows.shape[0], into.shape[1], torch.get_num_threads()
    )


def square_sum(rows: Tensor | None, grad: Tensor) -> float:
    """Return the sum of squares of grad [n, dim] over rows that are not -1; all of it if `rows` is None."""
    kernels = native_for(grad) if rows is None else native_for(rows, grad)
    if kernels is None or grad.dtype != torch.float32:
        kept = grad if rows is None else grad[rows >= 0]
        return float(kept.double().square().sum())
    return float(
        kernels.cs_square_sum(pointer(rows), grad.data_ptr(), grad.shape[0], grad.shape[1], torch.get_num_threads())
    )
