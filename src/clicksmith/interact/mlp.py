"""Dense layers after a block."""

from typing import get_args

from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.shape import Fields, FieldShape, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.kernels import layers
from clicksmith.kernels.layers import DenseStack, Linear, dropping


class MLP(Layer, frozen=True):
    """Linear, (batch normalisation), activation, (dropout), for each of `units`; the head's linear map follows."""

    units: tuple[int, ...] = (400, 400, 400)
    """Width of each layer; none of them: the identity."""
    activation: Activation = "relu"
    """What follows each linear map."""
    batch_norm: bool = False
    """Normalise before each activation."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read nothing but the vector handed on."""
        return ()

    def width(self, width: int) -> int:
        """Return the width of the last layer. Raises CompositionError: a width is below 1."""
        if any(unit < 1 for unit in self.units):
            raise CompositionError(f"MLP units {self.units} hold a width below 1; give positive widths, as in 400,400.")
        return self.units[-1] if self.units else width

    def build(self, width: int, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        self.width(width)  # refuses what cannot be built
        return MLPLayer(
            width, self.units, activation_name=self.activation, batch_norm=self.batch_norm, dropout=self.dropout
        )


class MLPLayer(nn.Module):
    """A dense stack that ignores the fields.

    Shape:
        x:   [batch, inputs]
        out: [batch, units[-1]]
    """

    def __init__(
        self, inputs: int, units: tuple[int, ...], *, activation_name: Activation, batch_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        if activation_name in get_args(layers.Activation):
            self.stack: nn.Module = DenseStack(
                inputs,
                units,
                activation=activation_name,  # type: ignore[arg-type]
                batch_norm=batch_norm,
                dropout=dropout,
            )
            return
        stack: list[nn.Module] = []
        for width in units:
            stack.append(Linear(inputs, width))
            if batch_norm:
                stack.append(nn.BatchNorm1d(width))
            stack.append(activation(activation_name, width))
            if dropout:
                stack.append(dropping(dropout))
            inputs = width
        self.stack = nn.Sequential(*stack)

    def forward(self, x: Tensor, fields: Fields | None = None) -> Tensor:  # noqa: ARG002
        """Map [batch, inputs] to [batch, width]."""
        return self.stack(x)
