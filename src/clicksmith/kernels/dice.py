"""Dice in C: one pass for scoring; in training the moments of the batch, and both derivatives, without temporaries."""

from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.kernels.again import derivatives
from clicksmith.kernels.ops import native_for, pointer, traced
from clicksmith.kernels.settled import scoring


def dice(x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor, alpha: Tensor, eps: float) -> Tensor:
    """Return `x (alpha + (1 - alpha) sigmoid((x - mean) / sqrt(variance + eps)))`, 0 where `mask` does not hold.

    Shape:
        x, out: [..., width]; out is of the wider type of x and alpha
        mask: [...] bool or None
        mean, variance, alpha: [width]
    """
    if scoring(x) and _known(x, mask, mean, variance, alpha):
        return _scaled(x, mask, mean, torch.rsqrt(variance + eps), alpha)
    return _plain(x, mask, mean, variance, alpha, eps)


def batch_dice(
    x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor, alpha: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `dice` with the moments of the positions that `mask` admits, and these moments.

    Where no position is admitted, `mean` and `variance` are taken, and returned.
    """
    if x.dtype in (torch.float32, torch.bfloat16) and not traced() and _known(x, mask, mean, variance, alpha):
        return cast("tuple[Tensor, Tensor, Tensor]", _Dice.apply(x, mask, mean, variance, alpha, eps))
    mean, variance = _moments(x, mask, mean, variance)
    return _plain(x, mask, mean, variance, alpha, eps), mean, variance


def _known(x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor, alpha: Tensor) -> bool:
    """Return whether the kernels can work on these; sizes that do not fit are torch's to refuse."""
    there = mask is None or (
        mask.device.type == "cpu" and mask.dtype == torch.bool and mask.is_contiguous() and mask.shape == x.shape[:-1]
    )
    return (
        there
        and x.shape[-1] > 0
        and mean.shape == variance.shape == alpha.shape == x.shape[-1:]
        and mean.dtype == variance.dtype == alpha.dtype == torch.float32
        and native_for(x, mean, variance, alpha) is not None
    )


def _moments(x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    rows = (x.flatten(0, -2) if mask is None else x[mask]).to(mean.dtype)
    if rows.shape[0] == 0:
        return mean, variance
    variance, mean = torch.var_mean(rows, 0, correction=0)
    return mean, variance


def _plain(x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor, alpha: Tensor, eps: float) -> Tensor:
    if mask is not None:  # what stands at padding may be no number, and 0 times that is none either
        x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
    p = torch.sigmoid((x - mean.to(x.dtype)) * torch.rsqrt(variance + eps).to(x.dtype))
    out = x * (alpha + (1 - alpha) * p)
    return out if mask is None else out.masked_fill(~mask.unsqueeze(-1), 0.0)


def _scaled(x: Tensor, mask: Tensor | None, mean: Tensor, inverse: Tensor, alpha: Tensor) -> Tensor:
    out = torch.empty(x.shape, dtype=torch.float32)
    native_for().cs_dice(
        x.data_ptr(), pointer(mask), out.data_ptr(), mean.data_ptr(), inverse.data_ptr(), alpha.data_ptr(),
        x.numel() // x.shape[-1], x.shape[-1], x.dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    return out


class _Dice(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor | None, mean: Tensor, variance: Tensor, alpha: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = mean.clone(), variance.clone()
        ctx.seen = native_for().cs_dice_moments(
            x.data_ptr(), pointer(mask), mean.data_ptr(), variance.data_ptr(), x.numel() // x.shape[-1],
            x.shape[-1], x.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        _checked(ctx.seen)
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(x, mask, mean, variance, inverse, alpha)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return _scaled(x, mask, mean, inverse, alpha), mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, mask, mean, variance, inverse, alpha = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: operations that have one

            def again(x: Tensor, alpha: Tensor) -> Tensor:
                return _plain(x, mask, *_moments(x, mask, mean, variance), alpha, ctx.eps)

            needed = ctx.needs_input_grad[0], ctx.needs_input_grad[4]
            dx, dalpha = derivatives(again, (x, alpha), needed, grads[0])
            return dx, None, None, None, dalpha, None
        g, dx, dalpha = grads[0].float().contiguous(), torch.empty_like(x), torch.empty_like(alpha)
        failed = native_for().cs_dice_backward(
            x.data_ptr(), pointer(mask), g.data_ptr(), dx.data_ptr(), dalpha.data_ptr(), mean.data_ptr(),
            inverse.data_ptr(), alpha.data_ptr(), x.numel() // x.shape[-1], ctx.seen, x.shape[-1],
            x.dtype == torch.bfloat16, torch.get_num_threads(),
        )  # fmt: skip
        _checked(failed)
        return dx, None, None, None, dalpha, None


def _checked(result: int) -> None:
    if result < 0:
        raise MemoryError("no memory for the sums of a Dice layer; use a smaller batch.")
