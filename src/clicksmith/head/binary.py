"""The head of a click model: a linear map to logits."""

from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import FieldShape, Hidden, HiddenShape, Output
from clicksmith.embed.sockets import Head, Task
from clicksmith.kernels.layers import Linear


class Binary(Head, frozen=True):
    """logit = w h + (the block's own logit) + b, for every output of every task."""

    bias: bool = True
    """Add a learned constant."""

    def build(self, hidden: HiddenShape, shape: FieldShape, tasks: tuple[Task, ...]) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return BinaryHead(hidden, sum(task.width for task in tasks), bias=self.bias)


class BinaryHead(nn.Module):
    """A linear map of what the block gives; groups (experts) are laid side by side.

    Shape:
        hidden.vector: [batch, width] or [batch, groups, width]
        out:           [batch, outputs]
    """

    def __init__(self, hidden: HiddenShape, outputs: int, *, bias: bool) -> None:
        super().__init__()
        width = hidden.width * hidden.groups
        self.outputs = outputs
        self.linear = Linear(width, outputs, bias=bias) if width else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias and not width else None

    def forward(self, hidden: Hidden, fields: object) -> Output:  # noqa: ARG002
        """Return the logits."""
        logits = hidden.logit
        if self.linear is not None:
            vector = cast("Tensor", hidden.vector)
            projected = self.linear(vector.flatten(1))
            logits = projected if logits is None else projected + logits
        elif self.outputs > 1:
            logits = cast("Tensor", logits).expand(-1, self.outputs)
        logits = cast("Tensor", logits)
        return Output(logits if self.bias is None else logits + self.bias)
