"""EDCN: a cross network and dense layers that meet after each layer (Chen et al., CIKM 2021)."""

from typing import Literal, cast

import torch
from torch import Tensor, nn

from clicksmith.embed.activation import Activation
from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.mlp import MLP
from clicksmith.kernels.layers import Linear

Bridge = Literal["product", "sum", "concat"]


class Bridged(Block, frozen=True):
    """A cross layer and a dense layer side by side, joined by a bridge that feeds both of the next pair."""

    layers: int = 3
    """Number of pairs of layers."""
    bridge: Bridge = "product"
    """How the two meet: entry by entry a product or a sum, or a dense layer on both side by side."""
    regulate: bool = True
    """Weigh the fields before each layer, for cross and dense layer apart."""
    temperature: float = 1.0
    """Of the softmax over the weights of the fields: the higher, the more alike they are."""
    batch_norm: bool = True
    """Normalise the input of each layer."""
    activation: Activation = "relu"
    """Of the dense layers."""
    dropout: float = 0.0
    """Share of the dense layers' outputs dropped in training."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give cross, dense and bridge of the last pair side by side."""
        if self.layers < 1 or not 0 < self.temperature < float("inf"):
            raise CompositionError(
                f"'bridged' got layers={self.layers} and temperature={self.temperature}; give layers=1 or more and a "
                "number above 0 as temperature."
            )
        if not shape.fields:
            raise CompositionError("'bridged' crosses fields and the data has none; add columns to the schema.")
        return HiddenShape(3 * len(shape.fields) * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return BridgedBlock(self, shape)


class BridgedBlock(nn.Module):
    """`c = x_c + c_0 (w . x_c) + b`, `h = dense(x_h)`, and `x_c, x_h` of the next pair from `bridge(c, h)`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, 3 * fields * dim]
    Differs from FuxiCTR: with the residual x_c in the cross layer, as in the paper and in FuxiCTR's benchmarked
    version 1.2.2; version 2 lost it.
    """

    def __init__(self, part: Bridged, shape: FieldShape) -> None:
        super().__init__()
        width = len(shape.fields) * shape.dim
        self.product = part.bridge == "product"
        self.weight = nn.Parameter(torch.empty(part.layers, width))
        nn.init.normal_(self.weight, std=(2.0 / (width + 1)) ** 0.5)  # Xavier-normal of a map to one number
        self.bias = nn.Parameter(torch.zeros(part.layers, width))
        dense = MLP(units=(width,), activation=part.activation, dropout=part.dropout)
        self.dense = nn.ModuleList(dense.build(width, shape) for _ in range(part.layers))
        self.inputs = nn.ModuleList(Regulation(part, shape) for _ in range(part.layers))
        joins = part.layers if part.bridge == "concat" else 0
        self.joins = nn.ModuleList(Linear(2 * width, width) for _ in range(joins))

    def forward(self, fields: Fields) -> Hidden:
        """Run the pairs of layers."""
        crossed, deep = self.inputs[0](fields.vectors.flatten(1))
        first = bridge = crossed
        for i, (regulation, dense) in enumerate(zip(self.inputs, self.dense, strict=True)):
            if i:
                crossed, deep = regulation(bridge)
            dot = nn.functional.linear(crossed, self.weight[i : i + 1])
            crossed = torch.addcmul(crossed + self.bias[i], first, dot)
            deep = dense(deep)
            bridge = self._meet(i, crossed, deep)
        return Hidden(torch.cat([crossed, deep, bridge], 1))

    def _meet(self, layer: int, crossed: Tensor, deep: Tensor) -> Tensor:
        if len(self.joins):
            return torch.relu(cast("Tensor", self.joins[layer](torch.cat([crossed, deep], 1))))
        return crossed * deep if self.product else crossed + deep


class Regulation(nn.Module):
    """The input of a cross and of a dense layer: `softmax(g / temperature)_f v_f` with a g each, then normalised.

    Batch normalisation takes the weights' scale out again as long as the vectors are large beside its epsilon.

    Shape:
        x:   [batch, fields * dim]
        out: two of them
    """

    def __init__(self, part: Bridged, shape: FieldShape) -> None:
        super().__init__()
        self.temperature, self.dim = part.temperature, shape.dim
        self.gates = nn.Parameter(torch.ones(2, len(shape.fields))) if part.regulate else None
        width = len(shape.fields) * shape.dim
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2 if part.batch_norm else 0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weigh and normalise."""
        crossed = deep = x
        if self.gates is not None:
            weights = torch.softmax(self.gates / self.temperature, 1).repeat_interleave(self.dim, 1)
            crossed, deep = x * weights[0], x * weights[1]
        if len(self.norms):
            return self.norms[0](crossed), self.norms[1](deep)
        return crossed, deep
