"""Attention over few fields, for training on the processor.

General attention kernels are made for long sequences; over ten or forty fields they spend their time elsewhere. Here
rows are taken in chunks, heads are laid out one after another, and the gradient is written straight into that of the
projections: 0.4 (bfloat16) to 0.65 (float32) of the time of torch's kernel at 10 fields and 4 heads of 32.
"""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels import attention
from clicksmith.kernels.ops import traced

CHUNK = 2**21
"""Numbers of the projections in one chunk: 8 MB in float32."""
MOST_FIELDS = 64
"""Over more fields torch's kernel is left to do it."""


def fits(projected: Tensor) -> bool:
    """Return whether `attend` may stand for torch's kernel: in training, on the processor, outside of tracing."""
    return (
        torch.is_grad_enabled()
        and projected.requires_grad
        and projected.device.type == "cpu"
        and 0 < projected.shape[1] <= MOST_FIELDS
        and projected.shape[0] > 0
        and not traced()
    )


def attend(projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
    """Return softmax(factor Q K^T) V, plus the fourth block of the projections if there is one.

    Shape:
        projected: [batch, fields, (3 or 4) * width]: queries, keys, values, residual
        out:       [batch, fields, width]
    """
    if attention.fits(projected):
        return attention.attend(projected, heads, width, factor)
    return cast("Tensor", _Attend.apply(projected, heads, width, factor))


def plain(projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
    """Return the same as `attend`, by operations that can be differentiated any number of times."""
    query, key, value = projected.narrow(2, 0, 3 * width).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(query @ key.transpose(-1, -2) * factor, -1)
    out = (weights @ value).transpose(1, 2).flatten(2)
    return out if projected.shape[2] == 3 * width else out + projected.narrow(2, 3 * width, width)


class _Attend(torch.autograd.Function):
    """Keeps the projections and the weights; queries, keys and values are laid out anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, heads: int, width: int, factor: float) -> Tensor:
        batch, fields, _ = projected.shape
        out = projected.new_empty(batch, fields, width)
        weights = projected.new_empty(batch, heads, fields, fields)
        for rows in _chunks(projected):
            part = projected[rows]
            query, key, value = _by_head(part[..., : 3 * width], 3, heads)
            chosen = _softmax(torch.bmm(query, key.transpose(1, 2)), factor)
            weights[rows] = chosen.view(-1, heads, fields, fields)
            attended = _by_field(torch.bmm(chosen, value), heads)
            if part.shape[2] == 3 * width:
                out[rows].unflatten(2, (heads, -1)).copy_(attended)
            else:
                torch.add(attended, part[..., 3 * width :].unflatten(2, (heads, -1)), out=_heads(out[rows], heads))
        ctx.save_for_backward(projected, weights)
        ctx.heads, ctx.width, ctx.factor = heads, width, factor
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        projected, weights = ctx.saved_tensors
        heads, width, factor = ctx.heads, ctx.width, ctx.factor
        if torch.is_grad_enabled():
            again = plain(projected, heads, width, factor)
            (grad,) = torch.autograd.grad(again, projected, grads[0], create_graph=True)
            return grad, None, None, None
        out_grad = grads[0].to(projected.dtype)
        grad = torch.empty_like(projected)
        for rows in _chunks(projected):
            query, key, value = _by_head(projected[rows][..., : 3 * width], 3, heads)
            (g,) = _by_head(out_grad[rows], 1, heads)
            chosen = weights[rows].flatten(0, 1)
            slope = _softmax_slope(chosen, torch.bmm(g, value.transpose(1, 2)), factor)
            into = grad[rows].unflatten(2, (-1, heads, width // heads))
            into[:, :, 0].copy_(_by_field(torch.bmm(slope, key), heads))
            into[:, :, 1].copy_(_by_field(torch.bmm(slope.transpose(1, 2), query), heads))
            into[:, :, 2].copy_(_by_field(torch.bmm(chosen.transpose(1, 2), g), heads))
            if projected.shape[2] > 3 * width:
                into[:, :, 3].copy_(out_grad[rows].unflatten(2, (heads, -1)))
        return grad, None, None, None


def _chunks(projected: Tensor) -> list[slice]:
    step = max(1, CHUNK // (projected.shape[1] * projected.shape[2]))
    return [slice(start, start + step) for start in range(0, projected.shape[0], step)]


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1))


def _by_head(x: Tensor, blocks: int, heads: int) -> tuple[Tensor, ...]:
    """[rows, fields, blocks * width] to `blocks` tensors [rows * heads, fields, depth]."""
    laid = x.unflatten(2, (blocks, heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
    return laid.flatten(1, 2).unbind(0)


def _by_field(x: Tensor, heads: int) -> Tensor:
    """[rows * heads, fields, depth] to a view [rows, fields, heads, depth]."""
    return x.unflatten(0, (-1, heads)).transpose(1, 2)


def _softmax(scores: Tensor, factor: float) -> Tensor:
    """Return softmax(factor * scores) over the last axis; torch's is slow where that axis is short."""
    wide = scores.float() if scores.dtype == torch.bfloat16 else scores
    if factor != 1.0:
        wide = wide * factor
    weights = (wide - wide.amax(-1, keepdim=True)).exp_()
    return weights.div_(weights.sum(-1, keepdim=True)).to(scores.dtype)


def _softmax_slope(weights: Tensor, grad: Tensor, factor: float) -> Tensor:
    """Return the gradient of the scores, given that of the weights."""
    wide, g = (t.float() if t.dtype == torch.bfloat16 else t for t in (weights, grad))
    product = wide * g
    product = torch.addcmul(product, wide, product.sum(-1, keepdim=True), value=-1)
    return (product if factor == 1.0 else product * factor).to(weights.dtype)
