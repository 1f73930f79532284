"""What AutoInt's fields look at: the attention of one row, and its mean over a data set, named by field.

Attention says what the model mixes, not what its score depends on; permutation importance says the latter.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.batch.batch import Inputs
from clicksmith.errors import DataError, UsageError
from clicksmith.interact.attention import AttentionStack, InteractingLayer


@dataclass(frozen=True, slots=True)
class AttentionMap:
    """Attention by field, of one row or the mean of many."""

    fields: tuple[str, ...]
    weights: NDArray[np.float64]
    """[layers, heads, fields, fields]; row i says what field i looks at, and sums to 1 unless sized by the values."""
    rows: int

    def heat(self, layer: int = 0) -> NDArray[np.float64]:
        """Return the mean over the heads of a layer: [fields, fields]; the first layer sees the fields themselves."""
        return self.weights[layer].mean(0)

    def pairs(self, layer: int = 0) -> list[tuple[str, str, float]]:
        """Return every pair of fields with the attention they pay each other, the strongest first."""
        heat = self.heat(layer)
        both = heat + heat.T
        n = len(self.fields)
        found = [(self.fields[i], self.fields[j], float(both[i, j])) for i in range(n) for j in range(i + 1, n)]
        return sorted(found, key=lambda pair: -pair[2])

    def rollout(self) -> NDArray[np.float64]:
        """Return attention followed through all layers, `prod_l (A_l + I) / 2`: [fields, fields]."""
        eye = np.eye(len(self.fields))
        through = eye
        for layer in range(len(self.weights)):
            through = (self.heat(layer) + eye) / 2 @ through
        return through


def attention_of_row(model: nn.Module, inputs: Inputs, row: int = 0, *, sized: bool = False) -> AttentionMap:
    """Return the attention of one row of a batch; `sized` weighs it by the length of the values.

    Raises:
        UsageError: the model has no attention over fields.
    """
    stack = _stack_of(model)
    weights = _weights(model, stack, inputs, sized=sized)[row]
    return AttentionMap(stack.names, weights.double().numpy(), 1)


def mean_attention(model: nn.Module, batches: Iterable[Inputs], *, sized: bool = False) -> AttentionMap:
    """Return the mean attention over the rows of all batches; memory does not grow with their number.

    Raises:
        UsageError: the model has no attention over fields.
        DataError: there are no rows.
    """
    maps = mean_attention_by(model, ((inputs, np.zeros(len(inputs), np.int8)) for inputs in batches), sized=sized)
    return next(iter(maps.values()))


def mean_attention_by(
    model: nn.Module, batches: Iterable[tuple[Inputs, NDArray[np.generic]]], *, sized: bool = False
) -> dict[Hashable, AttentionMap]:
    """Return the mean attention for each value of a key: the label, a domain, the values of a field.

    Shape:
        batches: inputs and their rows' keys [batch]
    """
    stack = _stack_of(model)
    sums: dict[Hashable, tuple[Tensor, int]] = {}
    for inputs, keys in batches:
        weights = _weights(model, stack, inputs, sized=sized).double()
        for key in np.unique(keys):
            chosen = weights[torch.from_numpy(keys == key)]
            total, rows = sums.get(key.item(), (torch.zeros(weights.shape[1:], dtype=torch.float64), 0))
            sums[key.item()] = (total + chosen.sum(0), rows + len(chosen))
    if not sums:
        raise DataError("there are no rows to average the attention over; give at least one batch with rows.")
    return {key: AttentionMap(stack.names, (total / rows).numpy(), rows) for key, (total, rows) in sums.items()}


def _stack_of(model: nn.Module) -> AttentionStack:
    for module in model.modules():
        if isinstance(module, AttentionStack) and len(module.layers):
            return module
    raise UsageError(
        "the model has no attention over fields to show; use autoint or autoint_plus, or permutation importance, "
        "which works for every model."
    )


def _weights(model: nn.Module, stack: AttentionStack, inputs: Inputs, *, sized: bool) -> Tensor:
    """Run the model in evaluation mode and return [batch, layers, heads, fields, fields]."""
    seen: list[Tensor] = []

    def watch(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(cast("InteractingLayer", module).weights(args[0], sized=sized))

    hooks = [layer.register_forward_pre_hook(watch) for layer in stack.layers]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(inputs)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return torch.stack(seen, 1).cpu()
