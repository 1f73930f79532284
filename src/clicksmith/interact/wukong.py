"""Wukong's layers: factorisation machines stacked on each other (Zhang et al., ICML 2024)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import DenseStack, Linear
from clicksmith.kernels.small import bmm


class Wukong(Transform, frozen=True):
    """Fields become new ones, layer after layer: some from their dot products, some by a linear map."""

    layers: int = 3
    """Number of layers; the order of interaction doubles with each."""
    products: int = 40
    """Fields that come from dot products."""
    linear: int = 40
    """Fields that come by a linear map."""
    rank: int = 8
    """Combinations of fields that all fields are multiplied by."""
    units: tuple[int, ...] = (512, 256)
    """Hidden layers from the dot products to the new fields."""
    norm: bool = True
    """Normalise the new fields."""
    dropout: float = 0.0
    """Share of hidden units dropped in training."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Replace the fields."""
        if min(self.layers, self.products, self.linear, self.rank) < 1:
            raise CompositionError(
                f"wukong layers={self.layers}, products={self.products}, linear={self.linear}, rank={self.rank}: "
                "all must be 1 or more."
            )
        new = tuple(Field(f"wukong.{i}", "generated") for i in range(self.products + self.linear))
        return replace(shape, fields=new, base=shape.base or shape.fields)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return WukongStack(self, len(shape.fields), shape.dim)


class WukongStack(nn.Module):
    """Layers one after another.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vectors:    [batch, products + linear, dim]
    """

    def __init__(self, part: Wukong, fields: int, dim: int) -> None:
        super().__init__()
        before = [fields] + [part.products + part.linear] * (part.layers - 1)
        self.layers = nn.ModuleList(WukongLayer(part, count, dim) for count in before)

    def forward(self, fields: Fields) -> Fields:
        """Run the layers."""
        vectors = fields.vectors
        for layer in cast("Iterable[nn.Module]", self.layers):
            vectors = layer(vectors)
        return replace(fields, vectors=vectors)


class WukongLayer(nn.Module):
    """`LN(concat(MLP(LN(x x^T Y)), L x) + R x + r)`; where the number of fields stays, x itself stands for R x + r.

    Shape:
        x:   [batch, fields, dim]
        out: [batch, products + linear, dim]
    """

    def __init__(self, part: Wukong, fields: int, dim: int) -> None:
        super().__init__()
        after = part.products + part.linear
        self.rank = nn.Parameter(nn.init.xavier_normal_(torch.empty(fields, part.rank)))
        self.norm_products = nn.LayerNorm(fields * part.rank)
        self.hidden = DenseStack(fields * part.rank, part.units, dropout=part.dropout)
        self.new = DenseStack(self.hidden.width, (part.products * dim,))
        self.linear = nn.Parameter(nn.init.xavier_normal_(torch.empty(part.linear, fields)))
        self.carry = Linear(fields, after) if fields != after else None
        self.norm = nn.LayerNorm(dim) if part.norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, map and add up."""
        dots = bmm(x, torch.matmul(x.transpose(1, 2), self.rank).to(x.dtype))
        new = self.new(self.hidden(self.norm_products(dots.flatten(1)))).unflatten(1, (-1, x.shape[2]))
        out = torch.cat([new, torch.matmul(self.linear, x).to(new.dtype)], 1)
        carried = x if self.carry is None else self.carry(x.transpose(1, 2)).transpose(1, 2)
        return self.norm(out + carried)
