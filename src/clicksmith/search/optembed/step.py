"""The step of a threshold, with the long-tailed derivative of dynamic sparse training (Liu et al., ICLR 2020)."""

from typing import Any

import torch
from torch import Tensor


class Step(torch.autograd.Function):
    """1 where s > 0, else 0; backward it has the derivative `long_tail(s)`.

    Paper: optembed, section 3.1.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        """Map [...] to the same shape."""
        ctx.save_for_backward(s)
        return (s > 0).to(s.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Multiply by the long-tailed derivative."""
        (s,) = ctx.saved_tensors
        return grads[0] * long_tail(s)


def long_tail(s: Tensor) -> Tensor:
    """Return 2 - 4|s| up to |s| = 0.4, then 0.4 up to 1, then 0."""
    size = s.abs()
    return torch.where(size <= 0.4, 2 - 4 * size, torch.where(size <= 1, 0.4, 0.0).to(s.dtype))


def step(s: Tensor) -> Tensor:
    """Return 1 where s > 0, else 0, with the long-tailed derivative."""
    out: Any = Step.apply(s)
    return out
