"""Residual units on a flat vector: the layers of Deep Crossing (Shan et al., KDD 2016)."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.shape import Fields, FieldShape, View
from clicksmith.embed.sockets import Layer
from clicksmith.interact.mlp import MLP
from clicksmith.kernels.layers import Linear, dropping


class Residual(Layer, frozen=True):
    """Two linear maps around an inner layer, added to their input, then the activation; once for each of `units`."""

    units: tuple[int, ...] = (64, 64, 64)
    """Width of each unit's inner layer; the vector keeps its own width."""
    activation: Activation = "relu"
    """What follows the inner layer, and the sum."""
    batch_norm: bool = False
    """Normalise the sum before its activation."""
    dropout: float = 0.0
    """Share of a unit's outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read nothing but the vector handed on."""
        return ()

    def width(self, width: int) -> int:
        """Keep the width."""
        return width

    def build(self, width: int, shape: FieldShape) -> nn.Module:
        """Return the module."""
        inner = [MLP(units=(unit,), activation=self.activation).build(width, shape) for unit in self.units]
        pairs = zip(inner, self.units, strict=True)
        return ResidualNet(ResidualUnit(layer, unit, width, self) for layer, unit in pairs)


class ResidualNet(nn.Module):
    """Residual units one after another.

    Shape:
        x, out: [batch, width]
    """

    def __init__(self, units: Iterable[nn.Module]) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Map [batch, width] to the same shape."""
        for unit in cast("Iterable[nn.Module]", self.units):
            x = unit(x)
        return x


class ResidualUnit(nn.Module):
    """`f(norm(W_2 f(W_1 x + b_1) + b_2 + x))`.

    Shape:
        x, out: [batch, width]
    """

    def __init__(self, inner: nn.Module, unit: int, width: int, part: Residual) -> None:
        super().__init__()
        self.inner = inner
        self.outer = Linear(unit, width)
        self.norm = nn.BatchNorm1d(width) if part.batch_norm else nn.Identity()
        self.activation = activation(part.activation, width)
        self.dropout = dropping(part.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, width] to the same shape."""
        return self.dropout(self.activation(self.norm(self.outer(self.inner(x)) + x)))
