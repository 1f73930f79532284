"""FM with a matrix per pair of fields: FmFM (Sun et al., WWW 2021)."""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.interact.fm import needs_pairs
from clicksmith.kernels.small import bmm

Matrices = Literal["full", "diagonal"]


class FmFM(Block, frozen=True):
    """The dot products of all pairs, the first of each mapped by the pair's matrix; added to the logit."""

    only_products = True

    matrices: Matrices = "full"
    """A full matrix per pair, or its diagonal alone (FvFM)."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        needs_pairs(self, shape)
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        block = FullFmFM if self.matrices == "full" else DiagonalFmFM
        return block(len(shape.fields), shape.dim)


class _FmFMBlock(nn.Module):
    """Weights per pair, in the order (0,1), (0,2), ... (1,2), ..., and where they stand in the matrix of all pairs."""

    pairs: Tensor

    def __init__(self, fields: int, start: Tensor) -> None:
        super().__init__()
        self.fields = fields
        rows, columns = torch.triu_indices(fields, fields, 1)
        self.register_buffer("pairs", rows * fields + columns, persistent=False)
        self.weight = nn.Parameter(start.repeat(len(rows), *[1] * start.dim()))

    def square(self, dtype: torch.dtype) -> Tensor:
        """Return [fields, fields, ...], zero on and below the diagonal."""
        empty = self.weight.new_zeros(self.fields**2, *self.weight.shape[1:])
        return empty.index_copy(0, self.pairs, self.weight).unflatten(0, (self.fields, self.fields)).to(dtype)


class FullFmFM(_FmFMBlock):
    """`sum_{i<j} v_i^T W_ij v_j`, as one product with the matrix that holds every W_ij. It starts as FM.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
        weight:         [pairs, dim, dim]
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__(fields, torch.eye(dim))

    def forward(self, fields: Fields) -> Hidden:
        """Sum the dot products under the matrices."""
        flat = fields.vectors.flatten(1)
        matrix = self.square(flat.dtype).transpose(1, 2).flatten(2).flatten(0, 1)  # [fields * dim, fields * dim]
        return Hidden(None, ((flat @ matrix) * flat).sum(1, keepdim=True))


class DiagonalFmFM(_FmFMBlock):
    """`sum_{i<j} sum_d w_ijd v_id v_jd`, as one product per coordinate. It starts as FM.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
        weight:         [pairs, dim]
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__(fields, torch.ones(dim))

    def forward(self, fields: Fields) -> Hidden:
        """Sum the weighted dot products."""
        across = fields.vectors.permute(2, 0, 1)  # [dim, batch, fields]
        mapped = bmm(across, self.square(across.dtype).permute(2, 0, 1))
        return Hidden(None, (mapped * across).sum((0, 2)).unsqueeze(1))
