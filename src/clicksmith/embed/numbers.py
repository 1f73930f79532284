"""Numeric columns to vectors."""

import torch
from torch import Tensor, nn

from clicksmith.embed.sockets import Numbers
from clicksmith.kernels.scale import scaled


class Scaled(Numbers, frozen=True):
    """The value times a vector of its column; a missing value has a vector of its own."""

    bias: bool = False
    """Add a vector per column, so that the value zero has a direction too."""

    def build(self, columns: int, dim: int) -> nn.Module:
        """Return the module for a number of columns."""
        return ScaledNumbers(columns, dim, bias=self.bias)


class ScaledNumbers(nn.Module):
    """`x_i v_i (+ b_i)`, or `m_i` where x_i is missing.

    The missing vector starts at zero, which is what the mean of a standardised column gives: a column whose cells are
    never missing in training scores its first missing cell as an average one.

    Shape:
        numeric: [batch, columns], NaN where missing
        out:     [batch, columns, dim]
    """

    def __init__(self, columns: int, dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, dim) * (2.0 / (1 + dim)) ** 0.5)
        self.missing = nn.Parameter(torch.zeros(columns, dim))
        self.bias = nn.Parameter(torch.zeros(columns, dim)) if bias else None

    def forward(self, numeric: Tensor) -> Tensor:
        """Map [batch, columns] to [batch, columns, dim]."""
        return scaled(numeric, self.weight, self.missing, self.bias)
