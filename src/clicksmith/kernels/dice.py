"""Dice with statistics that change no more, in one pass: for scoring."""

import torch
from torch import Tensor

from clicksmith.kernels.ops import native_for
from clicksmith.kernels.settled import scoring


def dice(x: Tensor, mean: Tensor, inverse: Tensor, alpha: Tensor) -> Tensor:
    """Return `x (alpha + (1 - alpha) sigmoid((x - mean) inverse))` in the wider type of x and alpha.

    Shape:
        x, out: [..., width]
        mean, inverse, alpha: [width]
    """
    kernels = native_for(x, mean, inverse, alpha) if scoring(x) and mean.dtype == alpha.dtype == torch.float32 else None
    if kernels is None:
        p = torch.sigmoid((x - mean.to(x.dtype)) * inverse.to(x.dtype))
        return x * (alpha + (1 - alpha) * p)
    out = torch.empty(x.shape)
    kernels.cs_dice(
        x.data_ptr(), out.data_ptr(), mean.data_ptr(), inverse.data_ptr(), alpha.data_ptr(),
        x.numel() // x.shape[-1], x.shape[-1], x.dtype == torch.bfloat16, torch.get_num_threads(),
    )  # fmt: skip
    return out
