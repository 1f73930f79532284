"""What FinalMLP's streams see: the factors of their gates by field, of one row or over a data set."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.batch.batch import Inputs
from clicksmith.embed.shape import Fields
from clicksmith.errors import DataError, UsageError
from clicksmith.fields.gate import GateBlock


@dataclass(frozen=True, slots=True)
class GateMap:
    """The factors of one gate: 1 lets a field pass, 0 shuts it out, 2 doubles it."""

    gate: str
    fields: tuple[str, ...]
    mean: NDArray[np.float64]
    """[fields], over rows and coordinates."""
    spread: NDArray[np.float64]
    """[fields], standard deviation over rows of a row's mean: 0 where the gate does not depend on its context."""
    rows: int

    def ranked(self) -> list[tuple[str, float]]:
        """Return fields and factors, the widest open first."""
        return sorted(zip(self.fields, self.mean.tolist(), strict=True), key=lambda pair: -pair[1])


def gates_of_row(model: nn.Module, inputs: Inputs, row: int = 0) -> dict[str, GateMap]:
    """Return the gates of one row of a batch, by name.

    Raises:
        UsageError: the model has no gates.
    """
    blocks = _blocks_of(model)
    factors = _factors(model, blocks, inputs)
    return {
        name: GateMap(name, block.names, factors[name][row].numpy(), np.zeros(len(block.names)), 1)
        for name, block in blocks.items()
    }


def mean_gates(model: nn.Module, batches: Iterable[Inputs]) -> dict[str, GateMap]:
    """Return the mean of every gate over the rows of all batches; memory does not grow with their number.

    Raises:
        UsageError: the model has no gates.
        DataError: there are no rows.
    """
    blocks = _blocks_of(model)
    means = {name: np.zeros(len(block.names)) for name, block in blocks.items()}
    squares = {name: np.zeros(len(block.names)) for name, block in blocks.items()}  # of deviations from the mean
    rows = 0
    for inputs in batches:
        if not len(inputs):
            continue
        for name, values in _factors(model, blocks, inputs).items():
            mean = values.mean(0).numpy()
            gap, share = mean - means[name], len(values) / (rows + len(values))
            squares[name] += ((values - values.mean(0)) ** 2).sum(0).numpy() + gap**2 * rows * share
            means[name] += gap * share
        rows += len(inputs)
    if not rows:
        raise DataError("there are no rows to average the gates over; give at least one batch with rows.")
    return {
        name: GateMap(name, block.names, means[name], np.sqrt(squares[name] / rows), rows)
        for name, block in blocks.items()
    }


def _blocks_of(model: nn.Module) -> dict[str, GateBlock]:
    blocks = {module.name: module for module in model.modules() if isinstance(module, GateBlock)}
    if not blocks:
        raise UsageError(
            "the model has no gates to show; use finalmlp with gate=True, or permutation importance, which works for "
            "every model."
        )
    return blocks


def _factors(model: nn.Module, blocks: dict[str, GateBlock], inputs: Inputs) -> dict[str, Tensor]:
    """Run the model in evaluation mode and return each gate's factors: [batch, fields]."""
    seen: dict[str, Tensor] = {}

    def watch(module: nn.Module, args: tuple[Fields, ...]) -> None:
        block = cast("GateBlock", module)
        seen[block.name] = block.gates(args[0]).mean(2).double().expand(len(args[0].vectors), -1)

    hooks = [block.register_forward_pre_hook(watch) for block in blocks.values()]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {name: values.cpu() for name, values in seen.items()}
