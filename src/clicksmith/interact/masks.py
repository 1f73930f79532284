"""MaskNet's blocks: the fields' vectors make a mask for what a dense layer sees (Wang et al., DLP-KDD 2021)."""

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, Layer
from clicksmith.errors import CompositionError
from clicksmith.interact.compose import Flat
from clicksmith.interact.per_field import PerField, PerFieldNorm
from clicksmith.kernels.layers import Linear, draw_apart, dropping


class NormedFlat(Block, frozen=True):
    """All vectors, each normalised, and the extras as they are, side by side."""

    def reads(self) -> tuple[View | str, ...]:
        """Read vectors and extras."""
        return ("vectors", "extra")

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give fields * dim + extra."""
        return Flat().out(shape)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return NormedFlatBlock(shape)


class NormedFlatBlock(nn.Module):
    """[batch, fields, dim] to [batch, fields * dim + extra]."""

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.norm = PerFieldNorm(len(shape.fields), shape.dim)

    def forward(self, fields: Fields) -> Hidden:
        """Normalise and flatten."""
        flat = self.norm(fields.vectors).flatten(1)
        return Hidden(flat if fields.extra is None else torch.cat([flat, fields.extra.to(flat.dtype)], 1))


class MaskBlocks(Layer, frozen=True):
    """Dense layers side by side, each on the vector times a mask that the fields' vectors make."""

    units: int = 64
    """Width that each block gives."""
    count: int = 1
    """Blocks side by side."""
    ratio: float = 2.0
    """A mask's inner layer is so many times as wide as the mask."""
    activation: Activation = "relu"
    """What follows each dense layer."""
    norm: bool = True
    """Normalise each block's layer before its activation."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors and extras that make the masks."""
        return ("vectors", "extra")

    def width(self, width: int) -> int:  # noqa: ARG002
        """Return the width of all blocks."""
        if self.units < 1 or self.count < 1 or not 0 < self.ratio < float("inf"):
            raise CompositionError(
                f"mask blocks of units={self.units}, count={self.count}, ratio={self.ratio}: "
                "all must be positive numbers, as in units=64, count=3, ratio=2."
            )
        return self.units * self.count

    def build(self, width: int, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return MaskBlocksLayer(self, width, shape.flat)


class MaskBlocksLayer(nn.Module):
    """`out_c = act(LN(W_c (m_c * x)))`, `m_c = V_c relu(U_c v + a_c) + b_c` with v the fields' vectors side by side.

    The blocks' products are one each: U is stacked, V and W are batched.

    Shape:
        x:   [batch, width]
        out: [batch, count * units]
    """

    def __init__(self, part: MaskBlocks, width: int, flat: int) -> None:
        super().__init__()
        inner = max(1, int(width * part.ratio))
        self.count = part.count
        self.gather = Linear(flat, part.count * inner)
        draw_apart(self.gather, part.count)
        self.spread = PerField(part.count, inner, width)
        self.hidden = PerField(part.count, width, part.units, bias=not part.norm)
        self.norm = PerFieldNorm(part.count, part.units) if part.norm else None
        self.activation = activation(part.activation, part.count * part.units)
        self.dropout = dropping(part.dropout)

    def forward(self, x: Tensor, fields: Fields) -> Tensor:
        """Mask [batch, width], then map it."""
        inner = torch.relu(self.gather(fields.flat())).unflatten(1, (self.count, -1))
        out = self.hidden(self.spread(inner) * x.unsqueeze(1))
        if self.norm is not None:
            out = self.norm(out)
        return self.dropout(self.activation(out.flatten(1)))
