"""CCPM's convolutions over the fields and its flexible max pooling (Liu et al., CIKM 2015)."""

from typing import cast

from torch import Tensor, nn

from clicksmith.embed.activation import Activation, activation
from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError

LAST = 3
"""Values that the last pooling keeps."""


class KMaxConvolution(Block, frozen=True):
    """Convolution over neighbouring fields, the p largest values kept in order, an activation; level after level.

    Coordinates are never mixed. Neighbours matter: the order of the fields is that of the schema.
    """

    channels: tuple[int, ...] = (4, 4, 2)
    """Convolutions of each level."""
    kernels: tuple[int, ...] = (6, 5, 3)
    """Fields under the convolutions of each level."""
    activation: Activation = "tanh"
    """After each pooling."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give what the last pooling keeps: 3 values per coordinate and channel, fewer if there are fewer."""
        if not self.channels or len(self.channels) != len(self.kernels) or min(*self.channels, *self.kernels) < 1:
            raise CompositionError(
                f"kmax_convolution channels={self.channels} and kernels={self.kernels}: give as many of one as of the "
                "other, at least one, all 1 or more."
            )
        if not shape.fields:
            raise CompositionError("'kmax_convolution' runs over fields and the data has none; add columns.")
        return HiddenShape(self.channels[-1] * shape.dim * self.kept(len(shape.fields))[-1])

    def kept(self, fields: int) -> tuple[int, ...]:
        """Return how many values each pooling keeps: of level i out of l, (1 - (i / l)^(l - i)) * fields, at least 3.

        >>> KMaxConvolution().kept(10)
        (8, 3, 3)
        """
        levels, height, kept = len(self.kernels), fields, list[int]()
        for i, kernel in enumerate(self.kernels, 1):
            wanted = max(LAST, int((1 - (i / levels) ** (levels - i)) * fields)) if i < levels else LAST
            height = min(wanted, height + kernel - 1)
            kept.append(height)
        return tuple(kept)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return KMaxConvolutionBlock(self, self.kept(len(shape.fields)))


class KMaxConvolutionBlock(nn.Module):
    """`S^i = act(kmax(W^i * S^{i-1} + b^i))`; the field axis is padded so that every field meets every weight.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, channels[-1] * dim * kept[-1]]
    """

    def __init__(self, part: KMaxConvolution, kept: tuple[int, ...]) -> None:
        super().__init__()
        self.kept = kept
        levels = zip((1, *part.channels), part.channels, part.kernels, strict=False)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, (1, kernel), padding=(0, kernel - 1)) for before, after, kernel in levels
        )
        for conv in self.convolutions:
            nn.init.xavier_normal_(cast("nn.Conv2d", conv).weight)
            nn.init.zeros_(cast("Tensor", cast("nn.Conv2d", conv).bias))
        self.activations = nn.ModuleList(activation(part.activation, kept[i]) for i in range(len(kept)))

    def forward(self, fields: Fields) -> Hidden:
        """Convolve and keep the largest."""
        maps = fields.vectors.transpose(1, 2).unsqueeze(1)  # [batch, 1, dim, fields]
        for conv, act, kept in zip(self.convolutions, self.activations, self.kept, strict=True):
            maps = act(largest(conv(maps), kept))
        return Hidden(maps.flatten(1))


def largest(x: Tensor, kept: int) -> Tensor:
    """Return the `kept` largest values along the last axis, in the order in which they stand.

    >>> largest(Tensor([3, 9, 1, 5]), 3)
    tensor([3., 9., 5.])
    """
    if kept == x.shape[-1]:
        return x
    return x.gather(-1, x.topk(kept, -1).indices.sort(-1).values)
