"""Sizes of vectors and the step of a threshold, with their derivatives, in few passes over the numbers."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor


class Step(torch.autograd.Function):
    """1 where s > 0 or `free`, else 0; backward it has the derivative `long_tail(s)`, and none where it is free.

    Paper: optembed, section 3.1.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, free: Tensor | None, moved: Callable[[Tensor], None] | None) -> Tensor:
        """Map [...] to the same shape."""
        ctx.moved = moved
        ctx.save_for_backward(s, free)
        passes = s > 0 if free is None else (s > 0) | free
        return passes.to(s.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Multiply by the long-tailed derivative, and tell `moved` the product."""
        s, free = ctx.saved_tensors
        grad = long_tail(s).mul_(grads[0])
        grad = grad if free is None else grad.masked_fill_(free, 0.0)
        if ctx.moved is not None:
            ctx.moved(grad)
        return grad, None, None


def long_tail(s: Tensor) -> Tensor:
    """Return 2 - 4|s| up to |s| = 0.4, then 0.4 up to 1, then 0: dynamic sparse training (Liu et al., ICLR 2020)."""
    size = s.abs()
    inside = size <= 1
    return size.mul_(-4).add_(2).clamp_(min=0.4).mul_(inside)


def step(s: Tensor, free: Tensor | None = None, moved: Callable[[Tensor], None] | None = None) -> Tensor:
    """Return 1 where s > 0 or `free`, else 0, with the long-tailed derivative; backward `moved` is told that of s."""
    return cast("Tensor", Step.apply(s, free, moved))


class Size(torch.autograd.Function):
    """The L1 norm of vectors [..., dim]: [...]. Products with ones are several times faster than short sums."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, dtype: torch.dtype) -> Tensor:
        """Sum the sizes of the numbers of each vector."""
        ctx.save_for_backward(vectors)
        with torch.autocast(vectors.device.type, enabled=False):
            return vectors.abs().to(dtype) @ torch.ones(vectors.shape[-1], dtype=dtype, device=vectors.device)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Give each number its sign times the gradient."""
        (vectors,) = ctx.saved_tensors
        with torch.autocast(vectors.device.type, enabled=False):
            spread = grads[0].unsqueeze(-1) @ grads[0].new_ones(1, vectors.shape[-1])
        return vectors.sign().mul_(spread), None


def size(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the L1 norms [...] of vectors [..., dim]."""
    return cast("Tensor", Size.apply(vectors, dtype))
