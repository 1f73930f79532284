"""DESTINE's disentangled self-attention: what a pair of fields says, and what a field says to all (CIKM 2021)."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.attention import attend, fits, plain
from clicksmith.kernels.layers import Linear, draw_apart, dropping


class DisentangledAttention(Transform, frozen=True):
    """Fields attend to each other, layer after layer; the last layer's width becomes the fields' dim."""

    layers: int = 2
    width: int = 64
    """Total over the heads."""
    heads: int = 2
    scale: bool = False
    """Divide the scores by the root of a head's width."""
    residual: Literal["each", "last", "none"] = "each"
    """A linear map of a layer's input added to its output: in each layer, of the fields after the last, or nowhere."""
    dropout: float = 0.0
    """Share of attention weights dropped in training."""
    projection: Literal["linear", "bias", "relu"] = "linear"
    """Of queries, keys and values: matrices (the paper), with constants, or with constants and ReLU. Without a ReLU
    those of queries, keys and unary scores cancel and the others add up to one constant; published parameter counts
    have them."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Change the dim to the width."""
        if self.layers < 1 or self.heads < 1 or self.width < 1 or self.width % self.heads:
            raise CompositionError(
                f"disentangled attention of layers={self.layers}, width={self.width}, heads={self.heads}: "
                "give layers and heads of 1 or more, and a width that is a multiple of the heads and not 0."
            )
        return replace(shape, dim=self.width)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return DisentangledStack(self, shape.dim)


class DisentangledStack(nn.Module):
    """Layers on the vectors; views and extras pass.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vectors:    [batch, fields, width]
    """

    def __init__(self, part: DisentangledAttention, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(DisentangledLayer(part, part.width if layer else dim) for layer in range(part.layers))
        )
        bias = part.projection != "linear"
        self.residual = Linear(dim, part.width, bias=bias) if part.residual == "last" else None

    def forward(self, fields: Fields) -> Fields:
        """Let the fields attend to each other."""
        attended = self.layers(fields.vectors)
        if self.residual is not None:
            attended = attended + self.residual(fields.vectors)
        return replace(fields, vectors=attended)


class DisentangledLayer(nn.Module):
    """`y_i = sum_h sum_j (p_hij + u_hj) V_h e_j + W_res e_i`, a pairwise and a unary share of the attention.

        p_hi = softmax_j((Q_h e_i - mean_f Q_h e_f) . (K_h e_j - mean_f K_h e_f)),   u_h = softmax_j(w_h . e_j)

    The mean of the keys adds the same to all scores of a query, so the softmax cancels it: it is left out. Query,
    key, value and residual are one matrix, `project.weight` [(3 or 4) * width, dim], in that order.

    Shape:
        x:   [batch, fields, dim]
        out: [batch, fields, width]
    Differs from the authors' code: heads are cut along the width; there the batch and field axes are cut with it, so
    that with several heads fields of other positions meet. One head is the same in both.
    """

    def __init__(self, part: DisentangledAttention, dim: int) -> None:
        super().__init__()
        self.width, self.heads, self.dropout = part.width, part.heads, dropping(part.dropout).p
        self.factor = (part.heads / part.width) ** 0.5 if part.scale else 1.0
        self.rectified, bias = part.projection == "relu", part.projection != "linear"
        blocks = 4 if part.residual == "each" else 3
        self.project = Linear(dim, blocks * part.width, bias=bias)
        self.unary = Linear(dim, part.heads, bias=bias)
        draw_apart(self.project, blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        query, key, value, *residual = self.project(x).split(self.width, -1)
        if self.rectified:
            query, key, value = torch.relu(query), torch.relu(key), torch.relu(value)
        query = query - query.mean(1, keepdim=True)
        unary = torch.softmax(self.unary(x), 1).transpose(1, 2).unsqueeze(2).to(value.dtype)  # [batch, heads, 1, f]
        if self.dropout and self.training:
            query, key, value = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
            weights = torch.softmax(query @ key.transpose(-1, -2) * self.factor, -1) + unary
            attended = nn.functional.dropout(weights, self.dropout) @ value
            out = attended.transpose(1, 2).flatten(2)
            return out + residual[0] if residual else out
        projected = torch.cat([query, key, value, *residual], -1)
        pairwise = (attend if fits(projected) else plain)(projected, self.heads, self.width, self.factor)
        return pairwise + (unary @ value.unflatten(2, (self.heads, -1)).transpose(1, 2)).transpose(1, 2).flatten(2)
