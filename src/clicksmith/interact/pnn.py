"""Products of pairs as a vector: the product layers of PNN (Qu et al., ICDM 2016; TOIS 2018)."""

from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.interact.bilinear import PairMap
from clicksmith.interact.fm import needs_pairs
from clicksmith.kernels.small import bmm


class InnerProducts(Block, frozen=True):
    """The dot product of every pair of fields: IPNN."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a number per pair."""
        needs_pairs(self, shape)
        return HiddenShape(len(shape.fields) * (len(shape.fields) - 1) // 2)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module; it has no weights."""
        return InnerProductsBlock(len(shape.fields))


class InnerProductsBlock(nn.Module):
    """`<v_i, v_j>` for i < j, in the order (0,1), (0,2), ... (1,2), ...

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, fields * (fields - 1) / 2]
    """

    pairs: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(fields, fields, 1)
        self.register_buffer("pairs", rows * fields + columns, persistent=False)

    def forward(self, fields: Fields) -> Hidden:
        """Multiply all pairs at once, keep the upper half."""
        vectors = fields.vectors
        products = bmm(vectors, vectors.transpose(1, 2))
        return Hidden(products.flatten(1).index_select(1, self.pairs))


class OuterProducts(Block, frozen=True):
    """OPNN's products: of the sum of all vectors with itself, or of every pair under a matrix of its own."""

    kernel: Literal["sum", "matrix"] = "sum"
    """`sum`: superposition, dim * dim numbers (2016); `matrix`: `v_i^T W_ij v_j`, one number per pair (2018)."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim * dim numbers, or one per pair."""
        needs_pairs(self, shape)
        n = len(shape.fields)
        return HiddenShape(shape.dim * shape.dim if self.kernel == "sum" else n * (n - 1) // 2)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return OuterSumBlock() if self.kernel == "sum" else KernelProductsBlock(len(shape.fields), shape.dim)


class OuterSumBlock(nn.Module):
    """`s s^T` with `s = sum_i v_i`: the outer products of all pairs, added up.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim * dim]
    """

    def forward(self, fields: Fields) -> Hidden:
        """Multiply the sum by itself."""
        total = fields.vectors.sum(1)
        return Hidden((total.unsqueeze(2) * total.unsqueeze(1)).flatten(1))


class KernelProductsBlock(nn.Module):
    """`v_i^T W_ij v_j` for i < j.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, fields * (fields - 1) / 2]
    Cost: dim * dim parameters per pair.
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__()
        self.map = PairMap(fields, dim, "pair")

    def forward(self, fields: Fields) -> Hidden:
        """Multiply each pair under its matrix."""
        return Hidden(self.map(fields.vectors).sum(-1))
