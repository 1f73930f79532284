"""FinalNet's factorised interactions: dense layers whose units multiply each other (Zhu et al., SIGIR 2023)."""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.shape import Fields, FieldShape, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear, dropping

Residual = Literal["concat", "sum"]


class Factorized(Layer, frozen=True):
    """Factorised interaction, (batch normalisation), activation, (dropout), for each of `units`.

    The order of interaction doubles with each layer.
    """

    units: tuple[int, ...] = (400, 400)
    """Width of each layer."""
    residual: Residual = "concat"
    """How a layer's linear half joins its products: `concat` has as many weights as a dense layer, `sum` twice."""
    activation: Activation = "relu"
    """What follows each layer."""
    batch_norm: bool = False
    """Normalise before each activation."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read nothing but the vector handed on."""
        return ()

    def width(self, width: int) -> int:
        """Return the width of the last layer."""
        if any(unit < 1 or (self.residual == "concat" and unit % 2) for unit in self.units):
            raise CompositionError(
                f"factorised layers of units {self.units} cannot be cut in halves; give positive even widths, as in "
                "400,400, or residual='sum'."
            )
        return self.units[-1] if self.units else width

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return FactorizedStack(self, width)


class FactorizedStack(nn.Module):
    """Layers one after another.

    Shape:
        x:   [batch, inputs]
        out: [batch, units[-1]]
    """

    def __init__(self, part: Factorized, inputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in part.units:
            layers.append(FactorizedLayer(inputs, width, part.residual))
            if part.batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(activation(part.activation, width))
            if part.dropout:
                layers.append(dropping(part.dropout))
            inputs = width
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Map [batch, inputs] to [batch, width]."""
        return self.layers(x)


class FactorizedLayer(nn.Module):
    """`y = [a, a * b]` or `y = a + a * b`, with `[a, b] = W x + c`.

    Shape:
        x:   [batch, inputs]
        out: [batch, units]
    """

    def __init__(self, inputs: int, units: int, residual: Residual) -> None:
        super().__init__()
        self.concat = residual == "concat"
        self.linear = Linear(inputs, units if self.concat else 2 * units)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply one half of the units by the other."""
        linear, factor = self.linear(x).chunk(2, -1)
        return torch.cat([linear, linear * factor], -1) if self.concat else torch.addcmul(linear, linear, factor)
