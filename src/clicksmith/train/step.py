"""One step: a batch forward and backward, and both optimisers; and the watch over its loss."""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from clicksmith.batch.batch import Inputs, Targets, to_device
from clicksmith.batch.loader import Loader, RowNumbers
from clicksmith.embed.shape import Output
from clicksmith.errors import DivergedError
from clicksmith.train.optimizers import Optimizers

WINDOW = 32
"""Losses are read this many steps at a time where reading one would make the processor wait for the GPU."""


class Watch:
    """Sums up the loss and stops training when it is not finite."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model
        self.window = 1 if device.type == "cpu" else WINDOW
        self.pending: list[tuple[Tensor, int, int, float]] = []
        self.sum, self.rows = 0.0, 0
        self.told = 0.0, 0
        self.last = math.nan
        """The last loss that was finite."""

    @property
    def mean(self) -> float:
        """Mean loss of a row since `restart`."""
        return self.sum / self.rows if self.rows else math.nan

    def restart(self) -> None:
        """Begin a new mean."""
        self.sum, self.rows = 0.0, 0
        self.told = 0.0, 0

    def recent(self) -> float:
        """Return the mean loss of a row since this was last asked, or since `restart`."""
        values, rows = self.sum - self.told[0], self.rows - self.told[1]
        self.told = self.sum, self.rows
        return values / rows if rows else math.nan

    def see(self, loss: Tensor, rows: int, step: int, rate: float) -> None:
        """Take in the mean loss of a step, before its update."""
        self.pending.append((loss, rows, step, rate))
        if len(self.pending) >= self.window:
            self.read()

    def read(self) -> None:
        """Read what was taken in. Raises DivergedError for a loss that is not finite."""
        values = (
            torch.stack([p[0] for p in self.pending]).tolist()
            if len(self.pending) > 1
            else [float(p[0]) for p in self.pending]
        )
        for value, (_, rows, step, rate) in zip(values, self.pending, strict=True):
            if not math.isfinite(value):
                raise self.diverged(f"the loss is {value}", step, rate)
            self.sum, self.rows, self.last = self.sum + value * rows, self.rows + rows, value
        self.pending.clear()

    def diverged(self, what: str, step: int, rate: float) -> DivergedError:
        """Return the error that says where and why."""
        return DivergedError(
            f"{what} at step {step} (learning rate {rate:g}, last finite loss {self.last:.6g}); "
            f"{_suspect(self.model)}. Use a lower learning rate or clip_norm, and look at numeric columns of large "
            "values (scale='standard' or 'log')."
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"sum": self.sum, "rows": self.rows, "last": self.last if math.isfinite(self.last) else None}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.sum, self.rows = state["sum"], state["rows"]
        self.told = self.sum, self.rows
        self.last = math.nan if state["last"] is None else state["last"]


def finite(numbers: Tensor) -> bool:
    """Whether every number is finite; looked at in pieces, since tables are large."""
    return all(bool(piece.isfinite().all()) for piece in numbers.detach().flatten().split(1 << 22))


def _suspect(model: nn.Module) -> str:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not finite(tensor):
            return f"first parameter that is not finite: {name}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"the parameters are finite; first gradient that is not: {name}"
    sizes = {name: float(p.detach().abs().max()) for name, p in model.named_parameters() if p.numel()}
    name = max(sizes, key=lambda n: sizes[n])
    return f"the parameters are finite, the largest value is {sizes[name]:.3g} in {name}; the input overflows the model"


class Stepper:
    """Trains on one batch after another."""

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        optimizers: Optimizers,
        loader: Loader,
        *,
        device: torch.device,
        low: bool,
    ) -> None:
        self.model, self.loss, self.optimizers, self.loader = model, loss, optimizers, loader
        self.device, self.low = device, low
        self.pieces = optimizers.settings.accumulate
        self.watch = Watch(model, device)
        self.before_update: Callable[[int, float], None] | None = None
        """Called with step and learning rate when the gradients are there."""

    def step(self, rows: RowNumbers, rate: float, step: int) -> None:
        """Train on the rows of those numbers with learning rate `rate`; `step` counts from 1."""
        pieces = [rows] if self.pieces == 1 else np.array_split(rows, min(self.pieces, max(1, len(rows) // 2)))
        total = None
        for piece in pieces:
            value = self._forward(piece) / len(rows)
            value.backward()
            total = value.detach() if total is None else total + value.detach()
        self.watch.see(cast("Tensor", total), len(rows), step, rate)
        if self.before_update is not None:
            self.before_update(step, rate)
        self.optimizers.step(rate)

    def _forward(self, rows: RowNumbers) -> Tensor:
        """Return the sum of the losses of some rows."""
        batch = self.loader.batch(rows)
        inputs: Inputs = to_device(batch.inputs, self.device) if self.device.type != "cpu" else batch.inputs
        targets: Targets = to_device(batch.targets, self.device) if self.device.type != "cpu" else batch.targets
        if self.low:
            with torch.autocast(self.device.type, torch.bfloat16):
                output: Output = self.model(inputs)
        else:
            output = self.model(inputs)
        return self.loss(output, targets).sum()
