"""The quadratic neurons of QNN-alpha (Li et al., arXiv 2025): a vector times what dense layers say of it."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import DenseStack, dropping


class Quadratic(Layer, frozen=True):
    """Layers that multiply a vector by dense layers of it and add it again."""

    layers: int = 3
    """Number of layers; the order of interaction doubles with each."""
    rows: int = 3
    """Dense outputs for each coordinate, added up."""
    batch_norm: bool = True
    """Normalise before each activation."""
    dropout: float = 0.1
    """Share of dense outputs, and of each layer's outputs, dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read nothing but the vector handed on."""
        return ()

    def width(self, width: int) -> int:
        """Keep the width."""
        if self.layers < 1 or self.rows < 1:
            raise CompositionError(
                f"quadratic layers={self.layers}, rows={self.rows}: both must be 1 or more, as in layers=3, rows=3."
            )
        return width

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return QuadraticStack(self, width)


class QuadraticStack(nn.Module):
    """`x_{l+1} = x_l * sum_r relu(W_lr x_l + b_lr) + x_l`; the maps of all r are one.

    Shape:
        x, out: [batch, width]
    Cost: rows * width * width parameters a layer.
    """

    def __init__(self, part: Quadratic, width: int) -> None:
        super().__init__()
        self.rows = part.rows
        self.layers = nn.ModuleList(
            DenseStack(width, (part.rows * width,), batch_norm=part.batch_norm, dropout=part.dropout)
            for _ in range(part.layers)
        )
        self.dropout = dropping(part.dropout)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Multiply [batch, width] by what is said of it."""
        for layer in cast("Iterable[nn.Module]", self.layers):
            x = self.dropout(x * layer(x).unflatten(1, (self.rows, -1)).sum(1) + x)
        return x
