"""InterHAt: a transformer layer over the fields, then attention of growing order (Li et al., WSDM 2020)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block, Transform
from clicksmith.errors import CompositionError
from clicksmith.interact.attention import Attention
from clicksmith.kernels.layers import Linear, dropping


def _inner(width: int, shape: FieldShape) -> int:
    """Return the inner width that 0 stands for, or the one asked."""
    if width < 0:
        raise CompositionError(f"inner={width} is no width; give inner=1 or more, or 0 for four times the fields' dim.")
    return width or 4 * shape.dim


class FieldEncoder(Transform, frozen=True):
    """A transformer layer over the fields: self-attention and a small network for each field; the dim stays."""

    width: int = 16
    """Of the attention, over all heads."""
    heads: int = 1
    """Number of heads."""
    inner: int = 0
    """Width inside the small network; 0: four times the fields' dim."""
    residual: bool = True
    """Add what goes into either half to what comes out."""
    norm: bool = True
    """Normalise after either half."""
    dropout: float = 0.0
    """Share of attention weights, and of the attention's outputs, dropped in training."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Keep the shape."""
        self.attention().grow(shape)
        _inner(self.inner, shape)
        return shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return FieldEncoderBlock(self, shape)

    def attention(self) -> Attention:
        """Return the attention that the first half holds."""
        return Attention(
            layers=1, width=self.width, heads=self.heads, residual="none", scale=True, dropout=self.dropout
        )


class FieldEncoderBlock(nn.Module):
    """`h = LN(relu(attend(x)) W + x)`, `out = LN(F relu(E h + b) + c + h)`; W only where the widths differ.

    Shape:
        fields.vectors, out.vectors: [batch, fields, dim]
    """

    def __init__(self, part: FieldEncoder, shape: FieldShape) -> None:
        super().__init__()
        inner = _inner(part.inner, shape)
        self.attention = part.attention().build(shape)
        self.back = Linear(part.width, shape.dim, bias=False) if part.width != shape.dim else nn.Identity()
        self.dropout = dropping(part.dropout)
        self.widen, self.narrow = Linear(shape.dim, inner), Linear(inner, shape.dim)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.dim) if part.norm else nn.Identity() for _ in range(2))
        self.residual = part.residual

    def forward(self, fields: Fields) -> Fields:
        """Encode the fields."""
        attended = self.dropout(self.back(self.attention(fields).vectors))
        x = self.norms[0](attended + fields.vectors if self.residual else attended)
        mapped = self.narrow(torch.relu(self.widen(x)))
        return replace(fields, vectors=self.norms[1](mapped + x if self.residual else mapped))


class Hierarchy(Block, frozen=True):
    """A summary of the fields for each order of interaction, and attention over the orders."""

    orders: int = 3
    """The highest order; each is built on the summary of the one before."""
    inner: int = 0
    """Width inside the attention; 0: four times the fields' dim."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim."""
        if self.orders < 2:
            raise CompositionError(f"a hierarchy of orders={self.orders} has no interactions; give orders=2 or more.")
        _inner(self.inner, shape)
        return HiddenShape(shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return HierarchyBlock(self.orders, shape.dim, _inner(self.inner, shape))


class HierarchyBlock(nn.Module):
    """`u_k = pool_k(x^k)`, `x^{k+1}_i = u_k * x^1_i + x^k_i`, out: `pool(u_1, u_2, ...)`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim]
    """

    def __init__(self, orders: int, dim: int, inner: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(AttentivePool(dim, inner) for _ in range(orders))
        self.last = AttentivePool(dim, inner)

    def forward(self, fields: Fields) -> Hidden:
        """Climb the orders."""
        first = x = fields.vectors
        summaries = list[Tensor]()
        for pool in cast("Iterable[nn.Module]", self.pools):
            if summaries:
                x = torch.addcmul(x, summaries[-1].unsqueeze(1), first)
            summaries.append(pool(x))
        return Hidden(self.last(torch.stack(summaries, 1)))


class AttentivePool(nn.Module):
    """`sum_i a_i x_i`, `a = softmax_i(w . relu(W x_i + b))`.

    Shape:
        x:   [batch, items, dim]
        out: [batch, dim]
    """

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.hidden = Linear(dim, inner)
        self.score = Linear(inner, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh and add up."""
        weights = torch.softmax(self.score(torch.relu(self.hidden(x))), 1)
        return (weights.to(x.dtype) * x).sum(1)
