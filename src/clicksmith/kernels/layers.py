"""Dense layers with fast CPU paths; same parameters and results as the torch modules they replace."""

from typing import Literal

from torch import Tensor, nn

Activation = Literal["relu", "sigmoid", "tanh", "prelu", "linear"]


class Linear(nn.Linear):
    """`nn.Linear`, initialised Xavier-normal with zero bias as in BARS."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            nn.init.zeros_(self.bias)


class DenseStack(nn.Module):
    """Linear, (batch norm), activation, (dropout), for each of `units`, the last one included.

    Shape:
        x:   [batch, inputs]
        out: [batch, units[-1]]
    """

    def __init__(
        self,
        inputs: int,
        units: tuple[int, ...],
        *,
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        acts = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "prelu": nn.PReLU, "linear": nn.Identity}
        layers: list[nn.Module] = []
        for width in units:
            layers.append(Linear(inputs, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(acts[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout))
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.width = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs] to [batch, width]."""
        return self.layers(x)
