"""Steps on alpha: its gradient on rows that the weights never see, normalised by block, and projected.

Paper: dnis, section 4.2. With Theta' = Theta - xi dL_train/dTheta the gradient of L_knobs(Theta'(alpha), alpha) is

    dL_knobs/dalpha at Theta'  -  xi  d2 L_train / (dalpha dTheta)  dL_knobs/dTheta at Theta'

"first" takes xi = 0; "second" finds the product with the mixed derivative by a central difference (two more passes).
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.errors import DivergedError
from clicksmith.kernels import ops

Loss = Callable[[], Tensor]
"""Forward: the mean loss of a batch."""
NEAR = 0.01
"""Length of the step of the central difference, over all weights together."""


@dataclass
class _Collected:
    """The gradient of a store's rows, outside its optimiser; a `RowSink`."""

    store: RowStore
    found: list[tuple[Tensor, Tensor]] = field(default_factory=list[tuple[Tensor, Tensor]])

    def __post_init__(self) -> None:
        """Stand in for the optimiser's sink."""
        self.real = self.store.sink
        self.catches_up = self.real is not None and self.real.catches_up

    def before(self, rows: Tensor) -> None:
        """Let the optimiser bring rows up to date."""
        if self.real is not None:
            self.real.before(rows)

    def collect(self, rows: Tensor, grad: Tensor) -> None:
        """Keep the gradient."""
        self.found.append((rows, grad))

    def merged(self) -> tuple[Tensor, Tensor]:
        """Return distinct rows and their gradients."""
        rows = torch.cat([r for r, _ in self.found])
        rows, grads = ops.merge(rows, torch.cat([g for _, g in self.found]))
        return rows[rows >= 0], grads[rows >= 0]


Gradient = list[tuple[Tensor, Tensor | None, Tensor]]
"""Weights, the rows that are meant (None: all), and what belongs to them."""


def weight_gradient(loss: Loss, model: nn.Module, alpha: Tensor) -> tuple[Gradient, Tensor]:
    """Return the gradient for the weights that are trained, of tables only for rows of the batch; and for alpha."""
    stores = row_stores(model)
    sinks = [_Collected(store) for store in stores]
    tables = {id(store.weight) for store in stores}
    dense = [p for p in model.parameters() if p.requires_grad and id(p) not in tables and p is not alpha]
    for store, sink in zip(stores, sinks, strict=True):
        store.sink = sink
    try:
        inputs = [alpha, *dense, *(s.weight for s in stores if s.weight.requires_grad)]
        found = cast("tuple[Tensor | None, ...]", torch.autograd.grad(loss(), inputs, allow_unused=True))
    finally:
        for store, sink in zip(stores, sinks, strict=True):
            store.sink = sink.real
    grads: Gradient = [(p.detach(), None, g) for p, g in zip(dense, found[1:], strict=False) if g is not None]
    grads += [(s.store.weight.detach(), *s.merged()) for s in sinks if s.found]
    return grads, torch.zeros_like(alpha) if found[0] is None else found[0]


@contextmanager
def moved(by: Gradient, length: float) -> Generator[None]:
    """Move the weights by `length` times a gradient, and put the same bits back afterwards."""
    kept = [w.clone() if rows is None else w[rows] for w, rows, _ in by]
    try:
        for weight, rows, grad in by:
            if rows is None:
                weight.add_(grad, alpha=length)
            else:
                weight.index_add_(0, rows, grad.to(weight.dtype), alpha=length)
        yield
    finally:
        for (weight, rows, _), old in zip(by, kept, strict=True):
            if rows is None:
                weight.copy_(old)
            else:
                weight[rows] = old


def second_order(train: Loss, knobs: Loss, model: nn.Module, alpha: Tensor, xi: float) -> Tensor:
    """Return the gradient for alpha with the term of the mixed derivative, by central difference. Paper: dnis."""
    step, _ = weight_gradient(train, model, alpha)
    with moved(step, -xi):
        outer, direct = weight_gradient(knobs, model, alpha)
    norm = sum(float(g.double().square().sum()) for *_, g in outer) ** 0.5
    if norm == 0 or xi == 0:
        return direct
    near = NEAR / norm
    with moved(outer, near):
        above = torch.autograd.grad(train(), alpha)[0]
    with moved(outer, -near):
        below = torch.autograd.grad(train(), alpha)[0]
    return direct - xi * (above - below) / (2 * near)


@torch.no_grad()
def move(alpha: Tensor, grad: Tensor, *, rate: float, l1: float) -> None:
    """Step on alpha: by `rate` on average in each block of the batch, whatever the scale of the loss; then into [0, 1].

    Blocks without a gradient stay: there L1 alone, normalised, would pull them to 0 (the released code's collapse).
    Differs from the released code: it adds 1e-8 to the mean size that a block's gradient is divided by, so that blocks
    of far smaller gradients (rare features in a large batch) hardly move; here every other block takes a whole step.

    Paper: dnis, section 4.2. Raises DivergedError: the gradient is not finite; alpha is left as it was.
    """
    if not bool(grad.isfinite().all()):
        raise DivergedError("the gradient of the selection layer is not finite; use a lower --train.learning-rate.")
    size = grad.abs().mean(1, keepdim=True)
    touched = size > 0
    step = (grad / size.masked_fill(~touched, 1.0) + l1) * touched
    alpha.sub_(step, alpha=rate).clamp_(0.0, 1.0)
