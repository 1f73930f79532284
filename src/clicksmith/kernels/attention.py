"""Attention over few fields in C, for training: every head of every row in the first-level cache, no weights kept.

General attention kernels are made for long sequences; over ten or forty fields they spend their time elsewhere. What
follows in AutoInt, the residual, layer normalisation and ReLU, is done while a row is there.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from clicksmith.kernels.again import derivatives
from clicksmith.kernels.ops import native_for, pointer, traced

MOST_FIELDS = 64
"""Over more fields torch's kernel is left to do it."""


def fits(projected: Tensor, residual: Tensor | None = None) -> bool:
    """Return whether `attend` may stand for torch's kernel on [batch, fields, blocks * width] projections."""
    tensors = [projected] if residual is None else [projected, residual]
    return (
        torch.is_grad_enabled()
        and projected.requires_grad
        and projected.dtype in (torch.float32, torch.bfloat16)
        and all(t.dtype == projected.dtype for t in tensors)
        and 0 < projected.shape[1] <= MOST_FIELDS
        and projected.shape[0] > 0
        and not traced()
        and native_for(*tensors) is not None
    )


class _How(NamedTuple):
    heads: int
    width: int
    factor: float
    drop: float
    seed: int
    rectify: bool
    eps: float


def attend(
    projected: Tensor,
    heads: int,
    width: int,
    factor: float,
    drop: float = 0.0,
    *,
    residual: Tensor | None = None,
    norm: nn.LayerNorm | None = None,
    rectify: bool = False,
) -> Tensor:
    """Return relu(norm(dropout(softmax(factor Q K^T)) V + residual)), the softmax per head, norm and ReLU if wanted.

    The residual is the fourth block of the projections if there is one, else `residual` [batch, fields, width] or none.

    Shape:
        projected: [batch, fields, (3 or 4) * width]: queries, keys, values, residual
        out:       [batch, fields, width]
    """
    seed = int(torch.randint(0, 2**62, (), dtype=torch.int64)) if drop else 0
    gamma, beta, eps = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    how = _How(heads, width, factor, drop, seed, rectify, eps)
    return cast("Tensor", _Attend.apply(projected, residual, gamma, beta, how))


def kept(projected: Tensor, heads: int, drop: float, seed: int) -> Tensor:
    """Return what `attend` multiplies the weights with: 0 or 1 / (1 - drop), [batch, heads, fields, fields]."""
    batch, fields, _ = projected.shape
    across = (fields + 15) // 16 * 16  # the kernel counts the values of a tensor with this last axis
    mask = torch.ones(batch, heads, fields, across, dtype=torch.float32)
    native_for(mask).cs_drop(mask.data_ptr(), mask.numel(), drop, seed, 0, torch.get_num_threads())  # type: ignore[union-attr]
    return mask[..., :fields]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, residual: Tensor | None, gamma: Tensor | None, beta: Tensor | None, how: _How
    ) -> Tensor:
        batch, fields, stride = projected.shape
        out = projected.new_empty(batch, fields, how.width)
        before = None if gamma is None else torch.empty_like(out)
        stats = None if gamma is None else torch.empty(batch, fields, 2, dtype=torch.float32)
        at, apart = _residual_of(projected, residual, how.width)
        native_for(projected).cs_attention_forward(
            projected.data_ptr(), at, out.data_ptr(), pointer(before), pointer(stats), pointer(gamma),
            pointer(beta), batch, fields, how.heads, how.width // how.heads, stride, apart, how.factor, how.drop,
            how.seed, how.eps, how.rectify, projected.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        y = before if gamma is not None or not how.rectify else out
        ctx.save_for_backward(projected, residual, gamma, beta, y, stats)
        ctx.how = how
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        projected, residual, gamma, beta, y, stats = ctx.saved_tensors
        how: _How = ctx.how
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one
            given = (projected, residual, gamma, beta)
            return (*derivatives(partial(_again, how), given, ctx.needs_input_grad[:4], grads[0]), None)
        g, dx = grads[0].to(projected.dtype).contiguous(), torch.empty_like(projected)
        dresidual, dgamma, dbeta = (None if t is None else torch.empty_like(t) for t in (residual, gamma, beta))
        at, apart = _residual_of(dx, dresidual, how.width)
        batch, fields, stride = projected.shape
        failed = native_for(projected).cs_attention_backward(
            projected.data_ptr(), g.data_ptr(), pointer(y), pointer(stats), dx.data_ptr(), at, pointer(gamma),
            pointer(beta), pointer(dgamma), pointer(dbeta), batch, fields, how.heads, how.width // how.heads,
            stride, apart, how.factor, how.drop, how.seed, how.eps, how.rectify, projected.dtype == torch.bfloat16,
            torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for the work space of an attention layer; use a smaller batch.")
        return dx, dresidual, dgamma, dbeta, None


def _again(how: _How, projected: Tensor, residual: Tensor | None, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    """Return what `attend` does by torch operations."""
    mask = kept(projected, how.heads, how.drop, how.seed) if how.drop else None
    out = plain(projected, how.heads, how.width, how.factor, mask)
    out = out if residual is None else out + residual
    out = out if gamma is None else nn.functional.layer_norm(out, (how.width,), gamma, beta, how.eps)
    return torch.relu(out) if how.rectify else out


def _residual_of(projected: Tensor, residual: Tensor | None, width: int) -> tuple[int | None, int]:
    """Return where the residuals of the fields begin (None: there are none), and how many values they are apart."""
    stride = projected.shape[2]
    if stride > 3 * width:
        return projected.data_ptr() + 3 * width * projected.element_size(), stride
    return pointer(residual), width


def plain(projected: Tensor, heads: int, width: int, factor: float, mask: Tensor | None = None) -> Tensor:
    """Return attention and the fourth block by torch operations, with derivatives of any order; `mask` as of `kept`."""
    query, key, value = projected.narrow(2, 0, 3 * width).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(query @ key.transpose(-1, -2) * factor, -1)
    weights = weights if mask is None else weights * mask.to(weights.dtype)
    out = (weights @ value).transpose(1, 2).flatten(2)
    return out if projected.shape[2] == 3 * width else out + projected.narrow(2, 3 * width, width)
