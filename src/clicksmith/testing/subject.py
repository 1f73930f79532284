"""What a check is given: a model function, its spec, and the means to build and feed it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from clicksmith.batch.batch import Batch, Inputs
from clicksmith.embed.rows import row_stores
from clicksmith.encode.layout import Layout
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.testing.layouts import LAYOUTS, random_batch


class CheckFailed(AssertionError):
    """A model breaks the contract; the message says how."""


@dataclass(frozen=True)
class Subject:
    """One model under test."""

    function: Callable[..., ModelSpec]
    spec: ModelSpec
    layout: Layout = LAYOUTS["everything"]

    def model(self, *, seed: int = 0, layout: Layout | None = None, spec: ModelSpec | None = None) -> CTRModel:
        """Build the model in evaluation mode; tables are drawn widely enough for their effect to show."""
        torch.manual_seed(seed)
        model = CTRModel(spec or self.spec, layout or self.layout)
        for store in row_stores(model):
            if store.group == "table":
                store.reset(0.3)
        return model.eval()

    def inputs(self, rows: int, *, seed: int = 0, users: int | None = None) -> Inputs:
        """Return random inputs of the layout."""
        return random_batch(self.layout, rows, seed=seed, users=users).inputs

    def batch(self, rows: int, *, seed: int = 0) -> Batch:
        """Return random inputs with labels."""
        return random_batch(self.layout, rows, seed=seed)


def click_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a scalar that rewards every output for the first label, whatever the tasks mean."""
    wanted = labels[:, :1].expand_as(logits)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)


def rows_of(inputs: Inputs, chosen: Tensor) -> Inputs:
    """Return the chosen rows; histories are cut only where row i owns history i."""
    histories = inputs.histories
    if inputs.owner is None:
        histories = {k: replace(h, ids=h.ids[chosen], mask=h.mask[chosen]) for k, h in histories.items()}
    return Inputs(
        inputs.ids[chosen],
        inputs.numeric[chosen],
        {k: v[chosen] for k, v in inputs.bags.items()},
        {k: v[chosen] for k, v in inputs.vectors.items()},
        histories,
        None if inputs.owner is None else inputs.owner[chosen],
        None if inputs.domain is None else inputs.domain[chosen],
    )


def require(holds: bool, message: str) -> None:
    """Raise CheckFailed with `message` unless `holds`."""
    if not holds:
        raise CheckFailed(message)


def require_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """Raise CheckFailed unless two tensors agree in shape and value, NaN included as a difference."""
    require(actual.shape == expected.shape, f"{what}: shapes {list(actual.shape)} and {list(expected.shape)}")
    if actual.numel() == 0:
        return
    gap = (actual.detach().double() - expected.detach().double()).abs()
    scale = expected.detach().double().abs().max().clamp(min=1.0)
    worst = float((gap / scale).nan_to_num(nan=float("inf")).max())
    require(worst <= tolerance, f"{what}: they differ by {worst:.3g} (at most {tolerance:g} is allowed)")
