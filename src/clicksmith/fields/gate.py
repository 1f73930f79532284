"""FinalMLP's feature gates: a context decides how much of each coordinate a stream sees."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.context import context_width
from clicksmith.embed.shape import Fields, FieldShape, Select, View
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import DenseStack, Linear
from clicksmith.kernels.settled import Settling
from clicksmith.schema.columns import Role


class ContextGate(Transform, frozen=True):
    """Multiply the vectors by `2 sigmoid(MLP(context))`, a gate per coordinate or per field.

    The context is the vectors of chosen fields, from tables of the gate's own; with none chosen, one learned vector.
    Paper: finalmlp, stream-specific feature selection.
    """

    name: str = "gate"
    """Name of the view; two gates need two names."""
    dim: int = 16
    """Length of the context's vectors."""
    fields: tuple[str, ...] = ()
    """The context's fields by name."""
    roles: tuple[Role, ...] = ()
    """The context's fields by role; with `fields`, both must hold."""
    units: tuple[int, ...] = (800,)
    """Hidden layers of the gate."""
    per: str = "coordinate"
    """`coordinate` (the authors' code) or `field`."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors and the context."""
        return ("vectors", self._view()) if self.fields or self.roles else ("vectors",)

    def grow(self, shape: FieldShape) -> FieldShape:
        """Keep the shape."""
        if self.per not in ("coordinate", "field"):
            raise CompositionError(f"gate per='{self.per}' is not known; use 'coordinate' or 'field'.")
        context_width(self._view(), shape)
        return shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return GateBlock(self, shape, context_width(self._view(), shape))

    def _view(self) -> View:
        return View(self.name, self.dim, Select(names=self.fields, roles=self.roles))


class GateBlock(Settling):
    """`out = 2 sigmoid(MLP(context)) * vectors`; zero weights in the last layer let everything pass unchanged.

    Shape:
        fields.vectors, out.vectors: [batch, fields, dim]
    """

    def __init__(self, part: ContextGate, shape: FieldShape, context: int) -> None:
        super().__init__()
        self.name = part.name
        self.names = tuple(f.name for f in shape.fields)
        self.constant = None if context else nn.Parameter(torch.zeros(1, part.dim))
        self.hidden = DenseStack(context or part.dim, part.units)
        self.per_field = part.per == "field"
        self.fields = len(shape.fields)
        width = self.fields * (1 if self.per_field else shape.dim)
        self.out = Linear(part.units[-1] if part.units else context or part.dim, width)

    kept: Tensor | None

    def settle(self) -> None:
        """Compute constant gates once, for scoring with weights that change no more; training forgets them."""
        if self.constant is None:
            super().settle()
        elif not self.training:
            with torch.no_grad(), torch.autocast(self.constant.device.type, enabled=False):
                self.kept = self._factors(self.constant)

    def gates(self, fields: Fields) -> Tensor:
        """Return the factors, 0 to 2: [batch or 1, fields, dim or 1]."""
        kept, vectors = self.kept, fields.vectors
        if not (kept is None or torch.is_grad_enabled()):
            return kept.to(vectors.device, vectors.dtype)
        context = fields.views[self.name].flatten(1) if self.constant is None else cast("Tensor", self.constant)
        return self._factors(context)

    def _factors(self, context: Tensor) -> Tensor:
        return (2 * torch.sigmoid(self.out(self.hidden(context)))).unflatten(1, (self.fields, -1))

    def forward(self, fields: Fields) -> Fields:
        """Gate the vectors."""
        return replace(fields, vectors=fields.vectors * self.gates(fields))
