"""AutoInt's interacting layers: self-attention over the fields."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape
from clicksmith.embed.sockets import Transform
from clicksmith.errors import CompositionError
from clicksmith.kernels.attention import attend, fits
from clicksmith.kernels.layers import Linear, draw_apart, dropping

Residual = Literal["project", "identity", "none"]
Norm = Literal["none", "pre_relu", "post_relu"]


class Attention(Transform, frozen=True):
    """Fields attend to each other, layer after layer; the last layer's width becomes the fields' dim.

    Paper: autoint, section 4.4.
    """

    layers: int = 3
    width: int = 64
    """Total over the heads."""
    heads: int = 2
    residual: Residual = "project"
    """`project`: always W_res (paper); `identity`: W_res only where the widths differ; `none`."""
    scale: bool = False
    """Divide the scores by the root of a head's width."""
    norm: Norm = "none"
    """Layer normalisation, before or after the activation."""
    dropout: float = 0.0
    """Share of attention weights dropped in training."""
    projection: Literal["linear", "relu"] = "linear"
    """`relu`: with bias and ReLU, as in the authors' code."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Change the dim to the width."""
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            raise CompositionError(
                f"attention width {self.width} is not divisible by heads={self.heads}; "
                "use a number of heads that divides the width."
            )
        if self.layers < 0:
            raise CompositionError(f"attention of layers={self.layers}; give layers=1 or more, or 0 for none.")
        return replace(shape, dim=self.width) if self.layers else shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return AttentionStack(self, shape)


class AttentionStack(nn.Module):
    """Interacting layers on the vectors; views and extras pass.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vectors:    [batch, fields, width]
    """

    def __init__(self, part: Attention, shape: FieldShape) -> None:
        super().__init__()
        self.names = tuple(f.name for f in shape.fields)
        dims = [shape.dim] + [part.width] * part.layers
        self.layers = nn.ModuleList(InteractingLayer(part, d) for d in dims[:-1])

    def forward(self, fields: Fields) -> Fields:
        """Let the fields attend to each other."""
        vectors = fields.vectors
        for layer in self.layers:
            vectors = layer(vectors)
        return replace(fields, vectors=vectors)


class InteractingLayer(nn.Module):
    """`y_i = relu(sum_h sum_j a_hij V_h e_j + W_res e_i)`, `a_hi = softmax_j((Q_h e_i) . (K_h e_j))`.

    Query, key, value and residual projection are one matrix, `project.weight` [(3 or 4) * width, dim], in that order.

    Shape:
        x:   [batch, fields, dim]
        out: [batch, fields, width]
    Cost: parameters 3 * dim * width, and dim * width for a projected residual.
    Paper: autoint, section 4.4, equations 5-8.
    """

    def __init__(self, part: Attention, dim: int) -> None:
        super().__init__()
        self.width, self.heads = part.width, part.heads
        self.factor = (part.heads / part.width) ** 0.5 if part.scale else 1.0
        self.projected = part.residual == "project" or (part.residual == "identity" and dim != part.width)
        self.identity = part.residual == "identity" and not self.projected
        self.rectified = part.projection == "relu"
        blocks = 3 + self.projected
        self.project = Linear(dim, blocks * part.width, bias=self.rectified)
        draw_apart(self.project, blocks)
        self.norm_before = nn.LayerNorm(part.width) if part.norm == "pre_relu" else None
        self.norm_after = nn.LayerNorm(part.width) if part.norm == "post_relu" else None
        self.dropout = dropping(part.dropout).p

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        projected = self._projected(x)
        drop = self.dropout if self.training else 0.0
        residual, norm = x if self.identity else None, self.norm_before
        if fits(projected, residual) and (norm is None or norm.weight.dtype == torch.float32):
            out = attend(
                projected, self.heads, self.width, self.factor, drop, residual=residual, norm=norm, rectify=True
            )
        else:
            query, key, value, residual = self._projections(x, projected)
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=drop, scale=self.factor)
            out = mixed.transpose(1, 2).flatten(2)
            out = out if residual is None else out + residual
            out = torch.relu(out if norm is None else norm(out))
        return out if self.norm_after is None else self.norm_after(out)

    def weights(self, x: Tensor, *, sized: bool = False) -> Tensor:
        """Return the attention weights: [batch, heads, fields, fields]; row i says what field i looks at.

        `sized` multiplies each by the length of the value it brings in, `a_hij |V_h e_j|`: a large weight on a short
        value changes little.
        """
        query, key, value, _ = self._projections(x, self._projected(x))
        weights = torch.softmax(query.float() @ key.float().transpose(-1, -2) * self.factor, -1)
        return weights * value.float().norm(dim=-1).unsqueeze(-2) if sized else weights

    def _projected(self, x: Tensor) -> Tensor:
        projected = self.project(x)
        return torch.relu(projected) if self.rectified else projected

    def _projections(self, x: Tensor, projected: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        query, key, value, *rest = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) if i < 3 else part
            for i, part in enumerate(projected.split(self.width, -1))
        )
        return query, key, value, rest[0] if self.projected else (x if self.identity else None)


def attention_of(
    variant: Literal["paper", "official"],
    *,
    layers: int,
    width: int,
    heads: int,
    residual: Residual | None,
    scale: bool | None,
    norm: Norm | None,
    dropout: float,
) -> Attention:
    """Return the layers of the paper or of the authors' code; what is given overrides the variant.

    The authors' code has ReLU and bias on every projection, scales the scores and normalises after the activation.
    Without a word on `scale`, scores are scaled in stacks of more than two layers too, where they would saturate.
    """
    official = variant == "official"
    return Attention(
        layers=layers,
        width=width,
        heads=heads,
        residual=residual or "project",
        scale=(official or layers > 2) if scale is None else scale,
        norm=norm or ("post_relu" if official else "none"),
        dropout=dropout,
        projection="relu" if official else "linear",
    )
