"""Pairs combined by circular convolution or correlation: HFM (Tay et al., AAAI 2019).

No Fourier transform is made: over vectors this short, products with all rotations of a vector are faster, and they
work in every precision.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.interact.fm import PairProducts, needs_pairs, pair_sum
from clicksmith.kernels.small import bmm

Interaction = Literal["hadamard_product", "circular_convolution", "circular_correlation"]


class Holographic(Block, frozen=True):
    """A vector of the fields' dim for every pair of fields, side by side or added up."""

    only_products = True

    interaction: Interaction = "circular_convolution"
    """Coordinate k of the vector of a and b: `a_k b_k`, `sum_d a_d b_{k-d}` or `sum_d a_d b_{k+d}`, indices modulo
    dim."""
    summed: bool = False
    """Add the pairs' vectors up."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim numbers, or dim numbers per pair."""
        needs_pairs(self, shape)
        pairs = len(shape.fields) * (len(shape.fields) - 1) // 2
        return HiddenShape(shape.dim if self.summed else pairs * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module; it has no weights."""
        block = HolographicSum if self.summed else HolographicPairs
        return block(len(shape.fields), shape.dim, self.interaction)


class HolographicPairs(nn.Module):
    """The interaction of v_i and v_j for i < j, in the order (0,1), (0,2), ... (1,2), ...

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, pairs * dim]
    Cost: fields * fields * dim * dim multiplications a row; all ordered pairs are made in one product, the wanted half
    is kept.
    """

    pairs: Tensor

    def __init__(self, fields: int, dim: int, interaction: Interaction) -> None:
        super().__init__()
        self.interaction: Interaction = interaction
        self.dim = dim
        self.products = PairProducts(fields)
        self.register_buffer("pairs", self.products.left * fields + self.products.right, persistent=False)

    def forward(self, fields: Fields) -> Hidden:
        """Combine all pairs at once."""
        vectors = fields.vectors
        if self.interaction == "hadamard_product":
            return Hidden(self.products(vectors).flatten(1))
        repeated = vectors.repeat(1, 1, self.dim + 1).unflatten(2, (self.dim, self.dim + 1))
        rotated = repeated[..., : self.dim]  # [..., k, d] is v_{k+d}: each row starts one coordinate later
        every = bmm(_left(vectors, self.interaction), rotated.flatten(1, 2).transpose(1, 2))
        return Hidden(every.unflatten(2, (-1, self.dim)).flatten(1, 2).index_select(1, self.pairs).flatten(1))


class HolographicSum(nn.Module):
    """The interactions of all pairs i < j, added up: every one adds cells of `sum_{i<j} v_i v_j^T`, so that matrix is
    enough.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim]
    Cost: fields * dim * (fields + dim) multiplications a row.
    """

    later: Tensor
    cells: Tensor

    def __init__(self, fields: int, dim: int, interaction: Interaction) -> None:
        super().__init__()
        self.interaction: Interaction = interaction
        self.dim = dim
        self.register_buffer("later", torch.ones(fields, fields).triu(1), persistent=False)
        coordinate = torch.arange(dim)
        shift = (coordinate - coordinate.unsqueeze(1)) % dim  # of the cell [d, e]: e - d
        self.register_buffer("cells", nn.functional.one_hot(shift.flatten(), dim).float(), persistent=False)

    def forward(self, fields: Fields) -> Hidden:
        """Sum the outer products of all pairs, then the cells of each coordinate."""
        vectors = fields.vectors
        if self.interaction == "hadamard_product":
            return Hidden(pair_sum(vectors))
        rest = self.later.to(vectors.dtype) @ vectors  # [batch, fields, dim], the sum of the fields after each
        outer = bmm(_left(vectors, self.interaction).transpose(1, 2), rest)
        return Hidden(outer.flatten(1) @ self.cells.to(outer.dtype))


def _left(vectors: Tensor, interaction: Interaction) -> Tensor:
    """Return what a correlation takes on its left: a convolution is one with `a_{-d}` in the place of `a_d`."""
    return vectors.roll(-1, 2).flip(2) if interaction == "circular_convolution" else vectors
