"""FinalNet's field gate: every field once more, weighed by what all fields say (Zhu et al., SIGIR 2023)."""

from dataclasses import replace

import torch
from torch import nn

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.embed.sockets import Transform
from clicksmith.kernels.layers import Linear


class FieldGate(Transform, frozen=True):
    """Append to the fields each of them times a gate, a linear map of all fields coordinate by coordinate."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Double the fields."""
        new = tuple(Field(f"gated.{field.name}", "generated") for field in shape.fields)
        return replace(shape, fields=shape.fields + new)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return FieldGateBlock(len(shape.fields))


class FieldGateBlock(nn.Module):
    """`out = [v, v * g]` with `g_fd = sum_j W_fj v_jd + b_f`; starts at g = 1.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vectors:    [batch, 2 * fields, dim]
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.linear = Linear(fields, fields)
        nn.init.zeros_(self.linear.weight)
        nn.init.ones_(self.linear.bias)

    def forward(self, fields: Fields) -> Fields:
        """Gate and append."""
        vectors = fields.vectors
        gates = self.linear(vectors.transpose(1, 2)).transpose(1, 2)
        return replace(fields, vectors=torch.cat([vectors, vectors * gates], 1))
