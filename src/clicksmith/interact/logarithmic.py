"""Logarithmic neurons: products of fields raised to learned powers (AFN; Cheng et al., AAAI 2020)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear
from clicksmith.kernels.powers import powers
from clicksmith.kernels.settled import Settling

SMALLEST = 1e-5
"""Coordinates nearer to zero than this count as this, so that their logarithm is finite."""


class Logarithmic(Block, frozen=True):
    """Each neuron multiplies the fields' vectors, each to a power of its own: cross features of any order."""

    neurons: int = 600
    """Number of products."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim numbers per neuron."""
        if self.neurons < 1:
            raise CompositionError(f"{self.neurons} logarithmic neurons give no products; give neurons=1 or more.")
        if not shape.fields:
            raise CompositionError("'logarithmic' multiplies fields and the data has none; add columns to the schema.")
        return HiddenShape(self.neurons * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return LogarithmicBlock(len(shape.fields), self.neurons)


class LogarithmicBlock(Settling):
    """`y_jd = prod_f |v_fd|^w_jf`, as `BN(exp(W BN(log |v|)))`, coordinate by coordinate.

    The coordinates are laid beside the batch, so that the layer is one matrix product and each batch normalisation
    one over columns. Powers are taken in float32 under autocast too, where the exponential would blow rounding up; the
    result is rounded.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim * neurons]
        powers.weight:  [neurons, fields]
    Differs from the paper: the smallest number is 1e-5, as in FuxiCTR, not 1e-7.
    """

    def __init__(self, fields: int, neurons: int) -> None:
        super().__init__()
        self.log_norm = nn.BatchNorm1d(fields)
        self.powers = Linear(fields, neurons, bias=False)
        self.exp_norm = nn.BatchNorm1d(neurons)

    def settle(self) -> None:
        """Leave the weights as they are: the kernel takes them so."""

    def forward(self, fields: Fields) -> Hidden:
        """Multiply the fields."""
        vectors = fields.vectors.to(self.powers.weight.dtype)
        dim, kind = vectors.shape[2], vectors.device.type
        lowered = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else vectors.dtype
        with torch.autocast(kind, enabled=False):
            logs = vectors.abs().clamp(min=SMALLEST).log().transpose(1, 2).flatten(0, 1)  # [batch * dim, fields]
            products = powers(self.log_norm(logs), self.powers.weight, self.exp_norm, lowered)
        return Hidden(products.unflatten(0, (-1, dim)).flatten(1))
