"""Weights of rows."""

from torch import Tensor, nn

from clicksmith.batch.batch import Targets
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Loss, Task
from clicksmith.errors import DataError
from clicksmith.loss.binary import BinaryCrossEntropy


class Weighted(Loss, frozen=True):
    """Another loss times the weight of its row (`Targets.weight`, the schema's weight column)."""

    inner: Loss = BinaryCrossEntropy()

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        """Return the module."""
        return _Weighted(self.inner.build(tasks))


class _Weighted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, output: Output, targets: Targets) -> Tensor:
        if targets.weight is None:
            raise DataError("the loss weighs rows and they have no weight; declare a weight column in the schema.")
        return self.inner(output, targets) * targets.weight.unsqueeze(1)
