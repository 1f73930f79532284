"""FiGNN: fields as the nodes of a graph that pass messages (Li et al., CIKM 2019)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block, Transform
from clicksmith.errors import CompositionError
from clicksmith.interact.per_field import PerField
from clicksmith.kernels.layers import Linear
from clicksmith.kernels.small import bmm


class FieldGraph(Transform, frozen=True):
    """Fields pass messages along edges whose weights are attention between the fields' first vectors."""

    layers: int = 3
    """Rounds of messages."""
    gru: bool = True
    """Update a field by a gated recurrent unit; else add the message."""
    residual: bool = True
    """Add the field's first vector after each round."""
    share: bool = False
    """One set of matrices for all rounds."""

    def grow(self, shape: FieldShape) -> FieldShape:
        """Keep the shape."""
        if len(shape.fields) < 2 or self.layers < 1:
            raise CompositionError(
                f"'field_graph' of layers={self.layers} over {len(shape.fields)} fields passes no message; "
                "it needs a layer or more and 2 fields or more; use dnn or lr."
            )
        return shape

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return FieldGraphStack(self, len(shape.fields), shape.dim)


class FieldGraphStack(nn.Module):
    """`a_i = U_i sum_j g_ij V_j h_j + b`, `h_i = GRU(a_i, h_i) + e_i`.

    `g_i = softmax_{j != i}(leaky_relu(w_1 . e_i + w_2 . e_j))`, found once from the fields' first vectors e.

    Shape:
        fields.vectors, out.vectors: [batch, fields, dim]
    Cost: 2 * fields * dim * dim parameters a round.
    """

    alone: Tensor

    def __init__(self, part: FieldGraph, fields: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("alone", torch.eye(fields, dtype=torch.bool), persistent=False)
        self.residual = part.residual
        self.rounds = part.layers
        self.attend = Linear(dim, 2, bias=False)
        self.layers = nn.ModuleList(GraphLayer(fields, dim) for _ in range(1 if part.share else part.layers))
        self.update = GRUStep(dim) if part.gru else None

    def forward(self, fields: Fields) -> Fields:
        """Pass the messages of all rounds."""
        first = state = fields.vectors
        graph = self.graph(first)
        for layer in list(cast("Iterable[nn.Module]", self.layers)) * (self.rounds // len(self.layers)):
            message = layer(graph, state)
            state = state + message if self.update is None else self.update(message, state)
            if self.residual:
                state = state + first
        return replace(fields, vectors=state)

    def graph(self, vectors: Tensor) -> Tensor:
        """Return the weights of the edges: [batch, fields, fields], row i what field i listens to."""
        source, target = self.attend(vectors).unbind(2)
        scores = nn.functional.leaky_relu(source.unsqueeze(2) + target.unsqueeze(1))
        return torch.softmax(scores.masked_fill(self.alone, float("-inf")), 2)


class GraphLayer(nn.Module):
    """One round: `a_i = U_i sum_j g_ij V_j h_j + b`.

    Shape:
        graph:  [batch, fields, fields]
        x, out: [batch, fields, dim]
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__()
        self.give = PerField(fields, dim, dim, bias=False)
        self.take = PerField(fields, dim, dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(dim))
        for matrices in (self.give, self.take):  # small, as in the common implementation: many rounds add up
            nn.init.normal_(matrices.weight, std=(2.0 / (dim * (dim + fields))) ** 0.5)

    def forward(self, graph: Tensor, x: Tensor) -> Tensor:
        """Return the message to every field."""
        given = self.give(x)
        return self.take(bmm(graph.to(given.dtype), given)) + self.bias


class GRUStep(nn.Module):
    """A gated recurrent unit: `z h + (1 - z) tanh(W_n a + r (U_n h))`, r and z sigmoids of a and h.

    As `nn.GRUCell`, on any leading shape; its weights are stacked in the same order (r, z, n).

    Shape:
        x, state, out: [..., dim]
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.of_input = Linear(dim, 3 * dim)
        self.of_state = Linear(dim, 3 * dim)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the next state."""
        reset, keep, new = self.of_input(x).chunk(3, -1)
        old_reset, old_keep, old_new = self.of_state(state).chunk(3, -1)
        fresh = torch.tanh(new + torch.sigmoid(reset + old_reset) * old_new)
        return fresh + torch.sigmoid(keep + old_keep) * (state - fresh)


class ScoredFields(Block, frozen=True):
    """Each field gives a score, all fields together its weight; the weighted sum is the logit."""

    def out(self, shape: FieldShape) -> HiddenShape:  # noqa: ARG002
        """Give a logit, no vector."""
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return ScoredFieldsBlock(len(shape.fields), shape.dim)


class ScoredFieldsBlock(nn.Module):
    """`sum_i sigmoid(W h)_i (w . h_i)`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
    """

    def __init__(self, fields: int, dim: int) -> None:
        super().__init__()
        self.score = Linear(dim, 1, bias=False)
        self.weigh = Linear(fields * dim, fields, bias=False)

    def forward(self, fields: Fields) -> Hidden:
        """Score and weigh."""
        scores = self.score(fields.vectors).squeeze(2)
        return Hidden(None, (torch.sigmoid(self.weigh(fields.vectors.flatten(1))) * scores).sum(1, keepdim=True))
