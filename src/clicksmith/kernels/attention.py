"""Attention over few fields in C: every head of every row in the first-level cache, no weights kept."""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for, traced


def fits(projected: Tensor) -> bool:
    """Return whether `attend` can work on [batch, fields, blocks * width] projections."""
    return projected.dtype in (torch.float32, torch.bfloat16) and not traced() and native_for(projected) is not None


def attend(projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
    """Return softmax(factor Q K^T) V per head, plus the fourth block of the projections if there is one.

    Shape:
        projected: [batch, fields, (3 or 4) * width]: queries, keys, values, residual
        out:       [batch, fields, width]
    """
    return cast("Tensor", _Attend.apply(projected, heads, width, factor))


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
        batch, fields, stride = projected.shape
        out = projected.new_empty(batch, fields, width)
        native_for(projected).cs_attention_forward(
            projected.data_ptr(), out.data_ptr(), batch, fields, heads, width // heads, stride, factor,
            projected.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(projected)
        ctx.heads, ctx.width, ctx.factor = heads, width, factor
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (projected,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            again = _plain(projected, ctx.heads, ctx.width, ctx.factor)
            return torch.autograd.grad(again, projected, grads[0], create_graph=True)[0], None, None, None
        g, grad = grads[0].to(projected.dtype).contiguous(), torch.empty_like(projected)
        batch, fields, stride = projected.shape
        native_for(projected).cs_attention_backward(
            projected.data_ptr(), g.data_ptr(), grad.data_ptr(), batch, fields, ctx.heads,
            ctx.width // ctx.heads, stride, ctx.factor, projected.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        return grad, None, None, None


def _plain(projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
    query, key, value = projected.narrow(2, 0, 3 * width).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    out = (torch.softmax(query @ key.transpose(-1, -2) * factor, -1) @ value).transpose(1, 2).flatten(2)
    return out if projected.shape[2] == 3 * width else out + projected.narrow(2, 3 * width, width)
