"""Weights of rows."""

from torch import Tensor, nn

from clicksmith.batch.batch import Targets
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Loss, Task
from clicksmith.errors import DataError
from clicksmith.loss.binary import BinaryCrossEntropy


class Weighted(Loss, frozen=True):
    """Another loss times the weight of its row (`Targets.weight`, the schema's weight column) over `mean`."""

    inner: Loss = BinaryCrossEntropy()
    mean: float = 1.0
    """The mean weight of training rows: the unit of weights is then nothing to the learning rate, clipping and L2."""

    def build(self, tasks: tuple[Task, ...]) -> nn.Module:
        """Return the module."""
        return _Weighted(self.inner.build(tasks), self.mean)


class _Weighted(nn.Module):
    def __init__(self, inner: nn.Module, mean: float) -> None:
        super().__init__()
        self.inner, self.mean = inner, mean

    def forward(self, output: Output, targets: Targets) -> Tensor:
        if targets.weight is None:
            raise DataError("the loss weighs rows and they have no weight; declare a weight column in the schema.")
        return self.inner(output, targets) * (targets.weight / self.mean).unsqueeze(1)
