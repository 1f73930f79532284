"""Attention over the products of pairs: the pooling of AFM (Xiao et al., IJCAI 2017)."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import PairProducts, needs_pairs
from clicksmith.kernels.again import derivatives
from clicksmith.kernels.layers import Linear, dropping
from clicksmith.kernels.ops import traced
from clicksmith.kernels.small import bmm

CHUNK = 2**18
"""Hidden numbers made at once in training: 1 MB in float32, where all of them would be hundreds."""


class AttentivePairs(Block, frozen=True):
    """The products of all pairs, coordinate by coordinate, added up under weights that a small network gives."""

    only_products = True

    width: int = 16
    """Width of the network's hidden layer."""
    attention_dropout: float = 0.0
    """Share of the pairs' weights dropped in training."""
    dropout: float = 0.0
    """Share of the sum's coordinates dropped in training."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim."""
        needs_pairs(self, shape)
        if self.width < 1:
            raise CompositionError(f"the attention of AFM has width {self.width}; give width=1 or more.")
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
        self.hidden = Linear(dim, part.width)
        self.score = Linear(part.width, 1, bias=False)
        self.attention_dropout = dropping(part.attention_dropout)
        self.dropout = dropping(part.dropout)

    def forward(self, fields: Fields) -> Hidden:
        """Weigh the pairs and add them up."""
        products = self.products(fields.vectors)  # [batch, pairs, dim]
        weights = torch.softmax(self._scores(products), 1, dtype=torch.promote_types(products.dtype, torch.float32))
        weights = self.attention_dropout(weights).to(products.dtype)
        return Hidden(self.dropout(bmm(weights.unsqueeze(1), products).squeeze(1)))

    def _scores(self, products: Tensor) -> Tensor:
        dtype = products.dtype
        weights = (self.hidden.weight.to(dtype), self.hidden.bias.to(dtype), self.score.weight[0].to(dtype))
        x = products.flatten(0, 1)
        if torch.is_grad_enabled() and x.device.type == "cpu" and not traced():
            return cast("Tensor", _Scores.apply(x, *weights)).view(products.shape[:2])
        return _scored(x, *weights).view(products.shape[:2])


def _scored(x: Tensor, weight: Tensor, bias: Tensor, last: Tensor) -> Tensor:
    """Return `last . relu(weight x + bias)` of each row: [rows, dim] -> [rows]."""
    return torch.relu(torch.addmm(bias, x, weight.t())) @ last


class _Scores(torch.autograd.Function):
    """Makes the hidden layer chunk by chunk, and again in the backward pass, so that it is never written to memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, last: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias, last)
        out = x.new_empty(x.shape[0])
        for rows in _chunks(weight, x):
            out[rows] = _scored(x[rows], weight, bias, last)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, last = ctx.saved_tensors
        if torch.is_grad_enabled():
            return derivatives(_scored, ctx.saved_tensors, ctx.needs_input_grad, grads[0])
        g, dx = grads[0], torch.empty_like(x)
        wide = torch.promote_types(x.dtype, torch.float32)
        dweight, dbias, dlast = (torch.zeros_like(t, dtype=wide) for t in (weight, bias, last))
        for rows in _chunks(weight, x):
            hidden = torch.addmm(bias, x[rows], weight.t()).relu_()
            dlast += g[rows] @ hidden
            slope = torch.outer(g[rows], last).mul_(hidden > 0)
            torch.mm(slope, weight, out=dx[rows])
            dweight += slope.t() @ x[rows]
            dbias += slope.sum(0, dtype=wide)
        return dx, dweight.to(x.dtype), dbias.to(x.dtype), dlast.to(x.dtype)


def _chunks(weight: Tensor, x: Tensor) -> list[slice]:
    step = max(1, CHUNK // weight.shape[0])
    return [slice(start, start + step) for start in range(0, x.shape[0], step)]
