"""Steps of the search's own parameters on rows that the weights never see (bilevel searches)."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from clicksmith.batch.batch import Batch, to_device
from clicksmith.batch.loader import Loader, RowNumbers
from clicksmith.embed.activation import Dice
from clicksmith.encode.store import Store
from clicksmith.train.step import Stepper


class KnobBatches:
    """The batches of some rows, one epoch after another, by a running number: a resumed search gets the same ones."""

    def __init__(self, store: Store, batch_size: int, *, seed: int, negative_rate: float = 1.0) -> None:
        self.loader = Loader(store, min(batch_size, store.rows), seed=seed, negative_rate=negative_rate)
        self._next = -1
        self._order: Iterator[RowNumbers] = iter(())

    def batch(self, number: int) -> Batch:
        """Return batch `number`, counted from 0; rising numbers cost nothing extra."""
        epoch, at = divmod(number, self.loader.steps)
        if number != self._next or at == 0:
            self._order = self.loader.order(epoch, at)
        self._next = number + 1
        return self.loader.batch(next(self._order))


def norms_of(model: nn.Module) -> list[Any]:
    """Return the layers that keep running statistics of what they saw in training."""
    return [layer for layer in model.modules() if isinstance(layer, (_BatchNorm, Dice))]


@contextmanager
def apart(model: nn.Module) -> Generator[None]:
    """Leave running statistics and random numbers as they were: rows seen inside have no say in the weights."""
    buffers = [buffer for norm in norms_of(model) for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in buffers]
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type != "cpu"}
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)


def knob_loss(stepper: Stepper, batch: Batch) -> Tensor:
    """Return the mean loss of a batch, as a step computes it."""
    inputs, targets = batch.inputs, batch.targets
    if stepper.device.type != "cpu":
        inputs, targets = to_device(inputs, stepper.device), to_device(targets, stepper.device)
    return stepper.loss(stepper.model(inputs), targets).sum() / len(inputs)


def knob_gradients(loss: Tensor, knobs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients for the knobs and for nothing else: tables collect none; zeros where a knob is not used."""
    found = cast("Sequence[Tensor | None]", torch.autograd.grad(loss, list(knobs), allow_unused=True))
    return tuple(torch.zeros_like(k) if g is None else g for k, g in zip(knobs, found, strict=True))
