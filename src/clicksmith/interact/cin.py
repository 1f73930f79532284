"""The compressed interaction network of xDeepFM (Lian et al., KDD 2018)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import needs_pairs
from clicksmith.kernels.layers import Linear


class CIN(Block, frozen=True):
    """Vector-wise interactions, one order higher with each layer; each feature map is summed over the coordinates."""

    units: tuple[int, ...] = (64, 64)
    """Feature maps of each layer."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a number per feature map."""
        needs_pairs(self, shape)
        if not self.units or min(self.units) < 1:
            raise CompositionError(f"CIN units {self.units} give no feature maps; give positive numbers, as in 64,64.")
        return HiddenShape(sum(self.units))

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return CINBlock(len(shape.fields), self.units)


class CINBlock(nn.Module):
    """`x^k_h = sum_ij W^k_hij (x^{k-1}_i * x^0_j) + b^k_h`, coordinate by coordinate; out: `sum_d x^k_hd`.

    The coordinates are laid beside the batch, so that a layer is one matrix product.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, sum of units]
        maps[k].weight: [units[k], previous maps * fields]
    Cost: units[k] * units[k-1] * fields * dim multiplications a row and layer.
    """

    def __init__(self, fields: int, units: tuple[int, ...]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            Linear(before * fields, after) for before, after in zip((fields, *units[:-1]), units, strict=True)
        )

    def forward(self, fields: Fields) -> Hidden:
        """Compress layer by layer."""
        vectors = fields.vectors
        dim = vectors.shape[2]
        first = vectors.transpose(1, 2).flatten(0, 1)  # [batch * dim, fields]
        x, sums = first, list[Tensor]()
        for layer in cast("Iterable[nn.Module]", self.maps):
            x = layer((x.unsqueeze(2) * first.unsqueeze(1)).flatten(1))
            sums.append(x.unflatten(0, (-1, dim)).sum(1))
        return Hidden(torch.cat(sums, 1))
