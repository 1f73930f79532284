"""The operations with a kernel of our own, each with torch operations as the fall-back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from clicksmith.embed.rows import RowStore


class _Lookup(torch.autograd.Function):
    """Gather rows; the gradient goes to the store's sink if it has one, else into a dense `weight.grad`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor, padding: Tensor, store: RowStore) -> Tensor:
        ctx.store, ctx.shape = store, weight.shape
        ctx.save_for_backward(rows, padding)
        return weight[rows]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        rows, padding = ctx.saved_tensors
        grad = grads[0].to(torch.float32) * (~padding).unsqueeze(-1)
        if ctx.store.sink is not None:
            ctx.store.sink.collect(rows, grad)
            return None, None, None, None
        dense = torch.zeros(ctx.shape, dtype=torch.float32, device=grad.device)
        dense.index_add_(0, rows.flatten(), grad.flatten(0, -2))
        return dense, None, None, None


def lookup(store: RowStore, ids: Tensor, offsets: Tensor) -> Tensor:
    """Look up ids [..., columns], local to their slot, in the store's table: [..., columns, dim]."""
    rows = ids + offsets
    if store.sink is not None:
        store.sink.before(rows)
    return _Lookup.apply(store.weight, rows, ids == 0, store)  # type: ignore[no-any-return]
