"""Attention over the products of pairs: the pooling of AFM (Xiao et al., IJCAI 2017)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.interact.fm import PairProducts, needs_pairs
from clicksmith.kernels.layers import DenseStack, Linear


class AttentivePairs(Block, frozen=True):
    """The products of all pairs, coordinate by coordinate, added up under weights that a small network gives."""

    width: int = 16
    """Width of the network's hidden layer."""
    attention_dropout: float = 0.0
    """Share of the pairs' weights dropped in training."""
    dropout: float = 0.0
    """Share of the sum's coordinates dropped in training."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim."""
        needs_pairs(self, shape)
        return HiddenShape(shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return AttentivePairsBlock(self, len(shape.fields), shape.dim)


class AttentivePairsBlock(nn.Module):
    """`sum_{i<j} a_ij (v_i * v_j)`, a the softmax over pairs of `h . relu(W (v_i * v_j) + b)`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim]
    """

    def __init__(self, part: AttentivePairs, fields: int, dim: int) -> None:
        super().__init__()
        self.products = PairProducts(fields)
        self.hidden = DenseStack(dim, (part.width,))
        self.score = Linear(part.width, 1, bias=False)
        self.attention_dropout = nn.Dropout(part.attention_dropout)
        self.dropout = nn.Dropout(part.dropout)

    def forward(self, fields: Fields) -> Hidden:
        """Weigh the pairs and add them up."""
        products = self.products(fields.vectors)  # [batch, pairs, dim]
        scores = self.score(self.hidden(products.flatten(0, 1))).view(-1, 1, products.shape[1])
        weights = self.attention_dropout(torch.softmax(scores, 2)).to(products.dtype)
        return Hidden(self.dropout(torch.bmm(weights, products).squeeze(1)))
