"""All numeric columns to one field by dense layers: DLRM's bottom network (Naumov et al., 2019)."""

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.sockets import Numbers
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear, dropping


class Bottom(Numbers, frozen=True):
    """Dense layers over all numbers, the last as wide as a field; a missing number is replaced by a learned one."""

    units: tuple[int, ...] = (64, 64, 64)
    """Width of each hidden layer."""
    activation: Activation = "relu"
    """What follows each layer, the last included."""
    batch_norm: bool = False
    """Normalise before each hidden layer's activation."""
    dropout: float = 0.0
    """Share of the hidden layers' outputs dropped in training."""

    def fields(self, names: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002
        """Return the one field's name."""
        return ("(numbers)",)  # no column has such a name

    def build(self, columns: int, dim: int) -> nn.Module:
        """Return the module."""
        if any(unit < 1 for unit in self.units):
            raise CompositionError(
                f"Bottom units {self.units} hold a width below 1; give positive widths, as in 64,64."
            )
        return BottomNumbers(self, columns, dim)


class BottomNumbers(nn.Module):
    """`f(W ... f(W_1 x + b_1) + b)`.

    Shape:
        numeric: [batch, columns], NaN where missing
        out:     [batch, 1, dim]
    """

    def __init__(self, part: Bottom, columns: int, dim: int) -> None:
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(columns))
        layers: list[nn.Module] = []
        width = columns
        for unit in part.units:
            layers.append(Linear(width, unit))
            if part.batch_norm:
                layers.append(nn.BatchNorm1d(unit))
            layers += [activation(part.activation, unit), dropping(part.dropout)]
            width = unit
        self.layers = nn.Sequential(*layers, Linear(width, dim), activation(part.activation, dim))

    def forward(self, numeric: Tensor) -> Tensor:
        """Map [batch, columns] to [batch, 1, dim]."""
        x = numeric.to(self.missing.dtype)
        return self.layers(torch.where(x.isnan(), self.missing, x)).unsqueeze(1)
