"""Attention over few fields in C, for training: every head of every row in the first-level cache, no weights kept.

General attention kernels are made for long sequences; over ten or forty fields they spend their time elsewhere.
"""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for, traced

MOST_FIELDS = 64
"""Over more fields torch's kernel is left to do it."""


def fits(projected: Tensor) -> bool:
    """Return whether `attend` may stand for torch's kernel on [batch, fields, blocks * width] projections."""
    return (
        torch.is_grad_enabled()
        and projected.requires_grad
        and projected.dtype in (torch.float32, torch.bfloat16)
        and 0 < projected.shape[1] <= MOST_FIELDS
        and projected.shape[0] > 0
        and not traced()
        and native_for(projected) is not None
    )


def attend(projected: Tensor, heads: int, width: int, factor: float, drop: float = 0.0) -> Tensor:
    """Return dropout(softmax(factor Q K^T)) V per head, plus the fourth block of the projections if there is one.

    Shape:
        projected: [batch, fields, (3 or 4) * width]: queries, keys, values, residual
        out:       [batch, fields, width]
    """
    seed = int(torch.randint(0, 2**62, (), dtype=torch.int64)) if drop else 0
    return cast("Tensor", _Attend.apply(projected, heads, width, factor, drop, seed))


def kept(projected: Tensor, heads: int, drop: float, seed: int) -> Tensor:
    """Return what `attend` multiplies the weights with: 0 or 1 / (1 - drop), [batch, heads, fields, fields]."""
    batch, fields, _ = projected.shape
    across = (fields + 15) // 16 * 16  # the kernel counts the values of a tensor with this last axis
    mask = torch.ones(batch, heads, fields, across)
    native_for(mask).cs_drop(mask.data_ptr(), mask.numel(), drop, seed, 0, torch.get_num_threads())  # type: ignore[union-attr]
    return mask[..., :fields]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, heads: int, width: int, factor: float, drop: float, seed: int) -> Tensor:
        batch, fields, stride = projected.shape
        out = projected.new_empty(batch, fields, width)
        native_for(projected).cs_attention_forward(
            projected.data_ptr(), out.data_ptr(), batch, fields, heads, width // heads, stride, factor, drop, seed,
            projected.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(projected)
        ctx.heads, ctx.width, ctx.factor, ctx.drop, ctx.seed = heads, width, factor, drop, seed
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (projected,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            mask = kept(projected, ctx.heads, ctx.drop, ctx.seed) if ctx.drop else None
            again = plain(projected, ctx.heads, ctx.width, ctx.factor, mask)
            grad = torch.autograd.grad(again, projected, grads[0], create_graph=True)[0]
            return grad, None, None, None, None, None
        g, grad = grads[0].to(projected.dtype).contiguous(), torch.empty_like(projected)
        batch, fields, stride = projected.shape
        native_for(projected).cs_attention_backward(
            projected.data_ptr(), g.data_ptr(), grad.data_ptr(), batch, fields, ctx.heads, ctx.width // ctx.heads,
            stride, ctx.factor, ctx.drop, ctx.seed, projected.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        return grad, None, None, None, None, None


def plain(projected: Tensor, heads: int, width: int, factor: float, mask: Tensor | None = None) -> Tensor:
    """Return what `attend` does by torch operations, with derivatives of any order; `mask` is that of `kept`."""
    query, key, value = projected.narrow(2, 0, 3 * width).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(query @ key.transpose(-1, -2) * factor, -1)
    weights = weights if mask is None else weights * mask.to(weights.dtype)
    out = (weights @ value).transpose(1, 2).flatten(2)
    return out if projected.shape[2] == 3 * width else out + projected.narrow(2, 3 * width, width)
