"""Self-distillation: the branches of a model learn from their mean (FinalNet, Zhu et al., SIGIR 2023, section 3.4)."""

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from clicksmith.batch.batch import Targets
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Loss, Task
from clicksmith.errors import CompositionError
from clicksmith.head.branches import BRANCHES
from clicksmith.loss.binary import BinaryCrossEntropy


class SelfDistilled(Loss, frozen=True):
    """Another loss of the mean of the branches, plus the cross-entropy of each branch with what the mean predicts.

    `L(y, z) + sum_i CE(sigma(z), z_i)`; no gradient flows through the mean as a teacher.
    """

    inner: Loss = BinaryCrossEntropy()

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        """Return the module."""
        return _SelfDistilled(self.inner.build(tasks))


class _SelfDistilled(nn.Module):
    """Shape: logits [batch, tasks], branches [branches, batch, tasks] -> [batch, tasks], 0 where masked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, output: Output, targets: Targets) -> Tensor:
        branches = output.aux.get(BRANCHES)
        if branches is None:
            raise CompositionError(
                "the loss 'self_distilled' teaches the branches of a model, and this one's head gives none; use "
                "head=BranchMean(widths=...), or another loss."
            )
        teacher = output.logits.detach().float().sigmoid().expand_as(branches)
        taught = binary_cross_entropy_with_logits(branches.float(), teacher, reduction="none").sum(0)
        if targets.mask is not None:
            taught = taught.masked_fill(~targets.mask, 0.0)
        return self.inner(output, targets) + taught
