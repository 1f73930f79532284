"""PPNet's dense layers: chosen ids gate what each of them gives (Chang et al., KDD 2023)."""

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation
from clicksmith.embed.context import context_width
from clicksmith.embed.shape import Fields, FieldShape, Select, View
from clicksmith.embed.sockets import Layer
from clicksmith.errors import CompositionError
from clicksmith.interact.mlp import MLP
from clicksmith.kernels.layers import Linear, draw_apart
from clicksmith.schema.columns import Role


class PersonalMLP(Layer, frozen=True):
    """Dense layers, each multiplied by a gate that chosen fields and all vectors drive.

    The chosen fields have vectors of the gates' own; no gradient flows from the gates into the others.
    """

    name: str = "personal"
    """Name of the view; two such parts need two names."""
    dim: int = 16
    """Length of the chosen fields' vectors."""
    fields: tuple[str, ...] = ()
    """The chosen fields by name."""
    roles: tuple[Role, ...] = ()
    """The chosen fields by role; with `fields`, both must hold. Neither: the vectors alone drive the gates."""
    units: tuple[int, ...] = (400, 400, 400)
    """Width of each layer."""
    gate_units: int = 64
    """Width inside each gate."""
    activation: Activation = "relu"
    """What follows each linear map."""
    batch_norm: bool = False
    """Normalise before each activation."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors, extras and the chosen fields."""
        return ("vectors", "extra", self._view()) if self.fields or self.roles else ("vectors", "extra")

    def width(self, width: int) -> int:
        """Return the width of the last layer."""
        if not self.units or self.gate_units < 1:
            raise CompositionError(
                f"personal layers of units={self.units}, gate_units={self.gate_units} gate nothing; "
                "give one width or more, as in units=400,400, and gate_units=1 or more."
            )
        return self._mlp(self.units).width(width)

    def build(self, width: int, shape: FieldShape) -> nn.Module:
        """Return the module."""
        chosen = context_width(self._view(), shape)
        inputs = (width, *self.units[:-1])
        layers = [self._mlp((unit,)).build(before, shape) for before, unit in zip(inputs, self.units, strict=True)]
        gates = [Linear(self.gate_units, unit) for unit in self.units]
        view = self.name if chosen else None
        return PersonalLayers(layers, gates, Linear(shape.flat + chosen, len(gates) * self.gate_units), view)

    def _mlp(self, units: tuple[int, ...]) -> MLP:
        return MLP(units=units, activation=self.activation, batch_norm=self.batch_norm, dropout=self.dropout)

    def _view(self) -> View:
        return View(self.name, self.dim, Select(names=self.fields, roles=self.roles))


class PersonalLayers(nn.Module):
    """`h_{l+1} = act(W_l h_l + b_l) * 2 sigmoid(V_l relu(U_l [chosen, stop(vectors)] + c_l) + d_l)`.

    The gates read the same, so U of all layers is one matrix.

    Shape:
        x:   [batch, width]
        out: [batch, units[-1]]
    """

    def __init__(self, layers: list[nn.Module], gates: list[Linear], read: Linear, view: str | None) -> None:
        super().__init__()
        self.layers, self.gates = nn.ModuleList(layers), nn.ModuleList(gates)
        self.read = read
        draw_apart(read, len(gates))
        self.view = view

    def forward(self, x: Tensor, fields: Fields) -> Tensor:
        """Run the layers under their gates."""
        context = fields.flat().detach()
        if self.view is not None:
            context = torch.cat([context, fields.views[self.view].flatten(1).to(context.dtype)], 1)
        inner = torch.relu(self.read(context)).chunk(len(self.gates), 1)
        for layer, gate, driven in zip(self.layers, self.gates, inner, strict=True):
            x = layer(x) * (2 * torch.sigmoid(gate(driven)))
        return x
