"""The head of a model whose branches also learn from their mean."""

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import FieldShape, Hidden, HiddenShape, Output
from clicksmith.embed.sockets import Head, Task
from clicksmith.errors import CompositionError
from clicksmith.kernels.layers import Linear

BRANCHES = "branches"
"""Name among `Output.aux` of the logits of each branch, which are there in training only."""


class BranchMean(Head, frozen=True):
    """A logit for each branch, and their mean as the model's; training teaches every branch the mean.

    The trainer adds `loss.SelfDistilled` for a model with this head.
    """

    widths: tuple[int, ...]
    """Width of each branch, in the order in which the block joins them."""

    def build(self, hidden: HiddenShape, shape: FieldShape, tasks: tuple[Task, ...]) -> nn.Module:  # noqa: ARG002
        """Return the module. Raises CompositionError if the block gives something else than these branches."""
        given = hidden.width * hidden.groups
        if given != sum(self.widths) or hidden.logit or len(self.widths) < 2:
            raise CompositionError(
                f"'branch_mean' has widths {self.widths}, and the block gives {given} units"
                + (" and a logit" if hidden.logit else "")
                + "; give the width of each of two or more branches that give vectors only."
            )
        return BranchMeanHead(self.widths, sum(task.width for task in tasks))


class BranchMeanHead(nn.Module):
    """`z_i = w_i h_i + b_i`, `z = mean_i z_i`.

    Shape:
        hidden.vector:       [batch, sum of widths]
        out.logits:          [batch, outputs]
        out.aux["branches"]: [branches, batch, outputs], in training
    """

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.branches = nn.ModuleList(Linear(width, outputs) for width in widths)

    def forward(self, hidden: Hidden, fields: object) -> Output:  # noqa: ARG002
        """Return the logits."""
        assert hidden.vector is not None
        parts: tuple[Tensor, ...] = hidden.vector.flatten(1).split(self.widths, 1)
        logits = torch.stack([branch(part) for branch, part in zip(self.branches, parts, strict=True)])
        return Output(logits.mean(0), {BRANCHES: logits} if self.training else {})
