"""Cross-entropy of clicks."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from clicksmith.batch.batch import Targets
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Loss, Task
from clicksmith.errors import CompositionError, DataError


class BinaryCrossEntropy(Loss, frozen=True):
    """-(p y log s(z) + (1 - y) log(1 - s(z))) per task, from logits z; label i belongs to task i."""

    pos_weight: float = 1.0
    """p: how much a click counts. Logits then estimate the log odds plus log p."""

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        """Return the module; raises CompositionError for a task with several outputs."""
        for task in tasks:
            if task.width != 1:
                raise CompositionError(
                    f"task '{task.name}' has {task.width} outputs and binary_cross_entropy takes one; "
                    "use a loss made for it, or Task(width=1)."
                )
        return _BinaryCrossEntropy(tuple(task.name for task in tasks), self.pos_weight)


class _BinaryCrossEntropy(nn.Module):
    """Shape: logits and labels [batch, tasks], mask [batch, tasks] -> [batch, tasks], 0 where masked."""

    def __init__(self, tasks: tuple[str, ...], pos_weight: float) -> None:
        super().__init__()
        self.tasks = tasks
        self.pos_weight = None if pos_weight == 1 else torch.tensor(pos_weight)

    def forward(self, output: Output, targets: Targets) -> Tensor:
        logits, labels = output.logits, targets.labels
        if labels.shape != logits.shape:
            raise DataError(
                f"the rows have {labels.shape[1]} labels and the model {logits.shape[1]} outputs "
                f"({', '.join(self.tasks)}); declare one label per task."
            )
        weight = None if self.pos_weight is None else self.pos_weight.to(logits.device)
        if targets.mask is None:
            return binary_cross_entropy_with_logits(logits.float(), labels, pos_weight=weight, reduction="none")
        labels = labels.masked_fill(~targets.mask, 0.0)  # an unknown label may be NaN, and NaN times 0 is NaN
        values = binary_cross_entropy_with_logits(logits.float(), labels, pos_weight=weight, reduction="none")
        return values.masked_fill(~targets.mask, 0.0)
