"""The self-attention models of Cheng and Xue (SIGIR 2021): dot products of fields as weights."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block, Transform
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import needs_pairs
from clicksmith.interact.per_field import PerField
from clicksmith.kernels.layers import Linear, draw_apart, dropping
from clicksmith.kernels.small import bmm

Weighed = Literal["A", "E"]
"""What the dot product of fields i and j weighs: `A`, a vector of their own; `E`, the product of their vectors."""


class WeighedPairs(Block, frozen=True):
    """SAM2: the dot product of every two fields times a vector, all of them side by side."""

    weighs: Weighed = "A"
    """A learned vector per pair, or the product of the two."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give fields * fields * dim numbers."""
        needs_pairs(self, shape)
        return HiddenShape(len(shape.fields) ** 2 * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return WeighedPairsBlock(self, len(shape.fields), shape.dim)


class WeighedPairsBlock(nn.Module):
    """`<f_i, f_j> W_ij` or `<f_i, f_j> (f_i * f_j)`, for all i and j.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, fields * fields * dim]
    """

    def __init__(self, part: WeighedPairs, fields: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(fields, fields, dim)) if part.weighs == "A" else None
        self.dropout = dropping(part.dropout)

    def forward(self, fields: Fields) -> Hidden:
        """Weigh every pair."""
        x = fields.vectors
        dots = bmm(x, x.transpose(1, 2)).unsqueeze(3)
        weighed = dots * (x.unsqueeze(2) * x.unsqueeze(1) if self.weight is None else self.weight)
        return Hidden(self.dropout(weighed.flatten(1)))


class WeighedSums(Transform, frozen=True):
    """SAM3: each field becomes a sum over all fields, weighed by dot products, layer after layer."""

    layers: int = 3
    """Number of layers."""
    weighs: Weighed = "A"
    """A learned vector per pair, or the product of the two."""
    residual: bool = True
    """Add a linear map of the field."""
    dropout: float = 0.0
    """Share of outputs dropped in training."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Keep the shape."""
        if self.layers < 1:
            raise CompositionError(f"'weighed_sums' of {self.layers} layers weighs nothing; give layers=1 or more.")
        return shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return WeighedSumsStack(self, len(shape.fields), shape.dim)


class WeighedSumsStack(nn.Module):
    """Layers one after another.

    They stay in single precision under autocast: a layer cubes its input and nothing normalises, so that what
    bfloat16 rounds off would be tripled by each.

    Shape:
        fields.vectors, out.vectors: [batch, fields, dim]
    """

    def __init__(self, part: WeighedSums, fields: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(WeighedSumsLayer(part, fields, dim) for _ in range(part.layers))

    def forward(self, fields: Fields) -> Fields:
        """Run the layers."""
        vectors, device = fields.vectors, fields.vectors.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return replace(fields, vectors=self._run(vectors.float()))
        return replace(fields, vectors=self._run(vectors))

    def _run(self, vectors: Tensor) -> Tensor:
        for layer in cast("Iterable[nn.Module]", self.layers):
            vectors = layer(vectors)
        return vectors


class WeighedSumsLayer(nn.Module):
    """`y_i = sum_j (f_i . K f_j) W_ij + Q f_i`, or with `f_i * f_j` for W_ij.

    Neither makes the [fields, fields, dim] products of a row: the first is a matrix per field on its row of weights, in
    the second `f_i` stands outside the sum.

    Shape:
        x, out: [batch, fields, dim]
    """

    def __init__(self, part: WeighedSums, fields: int, dim: int) -> None:
        super().__init__()
        blocks = 2 if part.residual else 1
        self.project = Linear(dim, blocks * dim, bias=False)
        draw_apart(self.project, blocks)
        self.residual = part.residual
        self.weigh = PerField(fields, fields, dim, bias=False) if part.weighs == "A" else None
        if self.weigh is not None:
            nn.init.ones_(self.weigh.weight)
        self.dropout = dropping(part.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh and add up."""
        key, *residual = self.project(x).split(x.shape[2], 2)
        weights = bmm(x, key.transpose(1, 2))
        out = x * bmm(weights, x) if self.weigh is None else self.weigh(weights)
        return self.dropout(out + residual[0] if self.residual else out)


class PooledFields(Block, frozen=True):
    """The sum of the fields' vectors, their mean, or a sum with a learned weight for each field."""

    by: Literal["sum", "mean", "weight"] = "sum"
    """Which of them."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim."""
        return HiddenShape(shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return PooledFieldsBlock(self.by, len(shape.fields))


class PooledFieldsBlock(nn.Module):
    """`sum_i a_i v_i`, with a_i 1, 1 / fields or learned from 1.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim]
    """

    def __init__(self, by: Literal["sum", "mean", "weight"], fields: int) -> None:
        super().__init__()
        self.factor = 1.0 / fields if by == "mean" else 1.0
        self.weight = nn.Parameter(torch.ones(fields, 1)) if by == "weight" else None

    def forward(self, fields: Fields) -> Hidden:
        """Pool the fields."""
        vectors = fields.vectors if self.weight is None else fields.vectors * self.weight
        return Hidden(vectors.sum(1) * self.factor)
