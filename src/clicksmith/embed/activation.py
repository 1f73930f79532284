"""Activations by name, Dice among them. They live here, below `sequence` and `interact`, which both use them."""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.kernels.dice import batch_dice, dice

Activation = Literal["relu", "sigmoid", "tanh", "prelu", "gelu", "linear", "dice"]


def activation(name: Activation, width: int) -> nn.Module:
    """Return the module of an activation over a last axis of `width`."""
    match name:
        case "relu":
            return nn.ReLU()
        case "sigmoid":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "gelu":
            return nn.GELU()
        case "prelu":
            return nn.PReLU()
        case "linear":
            return nn.Identity()
        case "dice":
            return Dice(width)


class Dice(nn.Module):
    """A rectifier whose turning point follows the data.

        f(s) = p(s) s + (1 - p(s)) alpha s,   p(s) = sigmoid((s - E[s]) / sqrt(Var[s] + eps))

    In training E and Var are those of the batch, over the positions that `mask` admits; in evaluation they are moving
    averages, so a row's score does not depend on its neighbours.

    Shape:
        x:    [..., width]
        mask: [...] bool, False at padding, or None
        out:  [..., width], 0 at padding
    Differs from the paper: moving averages as in batch normalisation (the paper leaves inference open), padding left
    out of the statistics.
    Paper: din, section 5.3.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, *, eps: float = 1e-8, momentum: float = 0.01) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map [..., width] to the same shape."""
        if not self.training:
            return dice(x, mask, self.mean, self.variance, self.alpha, self.eps)
        out, mean, variance = batch_dice(x, mask, self.mean, self.variance, self.alpha, self.eps)
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        return out
