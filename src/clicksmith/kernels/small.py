"""Many small matrix products in one call of C: over a few fields, torch's batched product spends its time elsewhere."""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for, traced

MOST = 64
"""Wider results are left to torch."""
SHORT = 16
"""Rows of results shorter than this leave torch's float32 vectors half empty, in large matrices too."""


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """Return `torch.bmm(x, y)`, the result laid out in memory as x is: items inside rows, or rows inside items.

    Sums are in float32; under autocast both are taken in its type, and so is the result.

    Shape:
        x:   [items, n, inner], of any strides
        y:   [items, inner, m]
        out: [items, n, m]
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, y = x.to(dtype), y.to(dtype)
    return cast("Tensor", _Products.apply(x, y)) if _fits(x, y) else torch.bmm(x, y)


def _fits(x: Tensor, y: Tensor) -> bool:
    if traced() or x.dim() != 3 or y.dim() != 3 or x.shape[::2] != y.shape[:2]:
        return False  # torch says what is wrong with sizes
    n, (inner, m) = x.shape[1], y.shape[1:]
    return (
        x.device.type == y.device.type == "cpu"
        and x.dtype == y.dtype
        and x.dtype in (torch.float32, torch.bfloat16)
        and 0 < m <= MOST
        and (inner <= MOST or (n <= MOST and y.stride(2) == 1))
        and (max(n, inner) <= MOST or m < SHORT or x.dtype == torch.bfloat16)
        and x.numel() > 0
        and native_for() is not None
    )


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        (items, n, inner), m = x.shape, y.shape[2]
        inside = 0 < x.stride(0) < x.stride(1)
        out = x.new_empty(n, items, m).transpose(0, 1) if inside else x.new_empty(items, n, m)
        native_for().cs_small_products(
            x.data_ptr(), y.data_ptr(), out.data_ptr(), items, n, inner, m, *x.stride(), *y.stride(),
            *out.stride()[:2], x.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            return (
                bmm(grads[0], y.transpose(1, 2)) if wanted[0] else None,
                bmm(x.transpose(1, 2), grads[0]) if wanted[1] else None,
            )
