"""Row-wise optimisers: the step of embedding tables costs what the batch touched, not what the vocabulary holds.

    optimizers = row_optimizers(model, lr=1e-3)      # attaches itself to every RowStore of the model
    loss.backward()                                  # gradients of rows are collected and merged, never dense
    optimizers.step(lr)
    optimizers.flush()                               # before evaluation, saving, or reading `weight` directly

Three ways to update with Adam:
    dense  every row every step, as torch.optim.Adam would; cheap for small tables
    exact  the same result, but a row makes up its missed steps when it is looked up (`kernels/replay.py`)
    lazy   a row moves only when it is touched: another optimiser, common in practice
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, row_stores
from clicksmith.embed.summed import SummedTable
from clicksmith.errors import UsageError
from clicksmith.kernels import ops, rowwise
from clicksmith.kernels.replay import Replay

Update = Literal["auto", "dense", "exact", "lazy"]
L2Mode = Literal["auto", "dense", "touched", "batch"]

DENSE_LIMIT = 1 << 20
"""Tables of at most this many values are updated densely when `update` is "auto"; see `row_optimizers` for L2."""


class RowOptimizer:
    """Collects the gradients of one store and applies them; the store's `RowSink`.

    `l2` times the weight is added to the gradient. `l2_mode` says of which rows: "dense" all (only with dense updates),
    "touched" those of the batch, "batch" those of the batch, divided by their count in training (DIN, section 4.2).
    """

    catches_up = False

    def __init__(
        self, store: RowStore, *, l2: float = 0.0, l2_mode: L2Mode = "touched", counts: Tensor | None = None
    ) -> None:
        if (l2_mode == "batch") != (counts is not None):
            raise UsageError(
                f"l2_mode='{l2_mode}' with counts {'given' if counts is not None else 'missing'}; "
                "mini-batch-aware L2 is l2_mode='batch' together with counts, one per row."
            )
        self.store, self.l2_mode = store, l2_mode
        self.decay = rowwise.Decay(l2, None if counts is None else counts.to(torch.float32).contiguous())
        self.pending: list[tuple[Tensor, Tensor]] = []
        store.sink = self

    @property
    def weight(self) -> Tensor:
        """The table's values, outside autograd."""
        return self.store.weight.detach()

    def before(self, rows: Tensor) -> None:
        """Bring rows that are about to be read up to date (exact updates)."""

    def collect(self, rows: Tensor, grad: Tensor) -> None:
        """Keep a gradient for `step`; several before a step add up."""
        self.pending.append((rows, grad))

    def merged(self) -> tuple[Tensor, Tensor]:
        """Return the distinct rows [n] (-1 in gaps) and their gradients [n, dim] that wait for `step`."""
        if not self.pending:
            empty = self.weight.new_zeros((0, self.store.dim))
            return torch.zeros(0, dtype=torch.int64, device=empty.device), empty
        if len(self.pending) > 1:
            rows, grads = zip(*self.pending, strict=True)
            self.pending = [ops.merge(torch.cat(rows), torch.cat(grads))]
        return self.pending[0]

    def square_sum(self) -> float:
        """Return the sum of squares of the collected gradient, for clipping by norm; L2 is not part of it."""
        return ops.square_sum(*self.merged())

    def zero_grad(self) -> None:
        """Forget what was collected."""
        self.pending.clear()

    def step(self, lr: float, scale: float = 1.0) -> None:
        """Apply what was collected and the L2, both times `scale`, with learning rate `lr`."""
        rows, grad = self.merged()
        with torch.no_grad():
            self._apply(rows, grad, lr, scale)
        self.pending.clear()

    def _apply(self, rows: Tensor, grad: Tensor, lr: float, scale: float) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Bring every row up to date."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two steps, for an exact resume; tensors are not copied."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        _ = state


class RowSGD(RowOptimizer):
    """Stochastic gradient descent; rows without a gradient do not move, so there is nothing to catch up."""

    def _apply(self, rows: Tensor, grad: Tensor, lr: float, scale: float) -> None:
        rowwise.sgd_rows(self.weight, rows, grad, lr, decay=self.decay.scaled(scale), scale=scale)


class RowAdagrad(RowOptimizer):
    """Adagrad; equal to the dense one, since rows without a gradient do not move."""

    def __init__(
        self,
        store: RowStore,
        *,
        eps: float = 1e-10,
        initial: float = 0.0,
        l2: float = 0.0,
        l2_mode: L2Mode = "touched",
        counts: Tensor | None = None,
    ) -> None:
        super().__init__(store, l2=l2, l2_mode=l2_mode, counts=counts)
        self.eps = eps
        self.v = torch.full_like(self.weight, initial)

    def _apply(self, rows: Tensor, grad: Tensor, lr: float, scale: float) -> None:
        rowwise.adagrad_rows(self.weight, self.v, rows, grad, lr, self.eps, decay=self.decay.scaled(scale), scale=scale)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of squares."""
        return {"v": self.v}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the sums of squares."""
        self.v.copy_(state["v"])


class RowAdam(RowOptimizer):
    """Adam with one of three updates; see the head of this module."""

    def __init__(
        self,
        store: RowStore,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        update: Update = "auto",
        l2: float = 0.0,
        l2_mode: L2Mode = "auto",
        counts: Tensor | None = None,
    ) -> None:
        if update == "auto":
            update = "dense" if store.weight.numel() <= DENSE_LIMIT and counts is None else "exact"
        if l2_mode == "auto":
            l2_mode = "batch" if counts is not None else "dense" if update == "dense" else "touched"
        if (l2_mode == "dense") != (update == "dense") and l2:
            raise UsageError(
                f"l2_mode='{l2_mode}' does not go with update='{update}': L2 on all rows needs update='dense', L2 on "
                "the rows of a batch needs update='exact' or 'lazy'."
            )
        super().__init__(store, l2=l2, l2_mode=l2_mode, counts=counts)
        self.betas, self.eps, self.update, self.steps = betas, eps, update, 0
        last = torch.zeros(store.weight.shape[0], dtype=torch.int32, device=store.weight.device)
        self.replay = Replay(betas, eps) if update == "exact" else None
        self.catches_up = self.replay is not None
        self.state = rowwise.Moments(
            torch.zeros_like(self.weight), torch.zeros_like(self.weight), last if update == "exact" else None
        )
        self.grad = torch.zeros_like(self.weight) if update == "dense" else None

    def before(self, rows: Tensor) -> None:
        """Make up the steps that rows missed (exact updates)."""
        if self.replay is not None:
            with torch.no_grad():
                rowwise.catch_up(self.weight, self.state, rows, self.replay)

    def flush(self) -> None:
        """Make up the steps that any row missed (exact updates)."""
        if self.replay is not None:
            with torch.no_grad():
                rowwise.catch_up(self.weight, self.state, None, self.replay)

    def _apply(self, rows: Tensor, grad: Tensor, lr: float, scale: float) -> None:
        self.steps += 1
        at = rowwise.AdamStep(self.steps, lr, self.betas, self.eps)
        if self.grad is not None:
            ops.add_rows(self.grad, rows, grad)
            rowwise.adam_dense(self.weight, self.state, self.grad, at, l2=self.decay.l2 * scale, scale=scale)
            return
        rowwise.adam_rows(
            self.weight, self.state, rows, grad, at, decay=self.decay.scaled(scale), scale=scale, replay=self.replay
        )
        if self.replay is not None:
            self.replay.advance(lr)

    def state_dict(self) -> dict[str, Any]:
        """Return steps, moments and what exact updates need."""
        state: dict[str, Any] = {"steps": self.steps, "m": self.state.m, "v": self.state.v}
        if self.replay is not None:
            state |= {"last": self.state.last, "replay": self.replay.state_dict()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state; raises UsageError if it belongs to another kind of update."""
        if ("replay" in state) != (self.replay is not None):
            raise UsageError(
                f"the saved row optimiser is {'exact' if 'replay' in state else 'dense or lazy'}, this one is "
                f"update='{self.update}'; resume with the settings the run was started with."
            )
        self.steps = int(state["steps"])
        self.state.m.copy_(state["m"])
        self.state.v.copy_(state["v"])
        if self.replay is not None and self.state.last is not None:
            self.state.last.copy_(state["last"])
            self.replay.load_state_dict(state["replay"])


class RowOptimizers:
    """The row optimisers of a model, used as one."""

    def __init__(self, optimizers: Sequence[RowOptimizer]) -> None:
        self.optimizers = tuple(optimizers)

    def step(self, lr: float, scale: float = 1.0) -> None:
        """Apply what was collected."""
        for optimizer in self.optimizers:
            optimizer.step(lr, scale)

    def square_sum(self) -> float:
        """Return the sum of squares of all collected gradients."""
        return sum(optimizer.square_sum() for optimizer in self.optimizers)

    def zero_grad(self) -> None:
        """Forget what was collected."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def flush(self) -> None:
        """Bring every row of every table up to date."""
        for optimizer in self.optimizers:
            optimizer.flush()

    def detach(self) -> None:
        """Flush and let the stores go: they give dense gradients again."""
        self.flush()
        for optimizer in self.optimizers:
            optimizer.store.sink = None

    def release(self, store: RowStore) -> None:
        """Let one store go to another optimiser."""
        self.optimizers = tuple(o for o in self.optimizers if o.store is not store)
        store.sink = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states in the order of `row_stores(model)`, under "0", "1", ..."""
        return {str(i): optimizer.state_dict() for i, optimizer in enumerate(self.optimizers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over saved states."""
        if len(state) != len(self.optimizers):
            raise UsageError(
                f"the saved state has {len(state)} tables, the model {len(self.optimizers)}; load it into the model it "
                "was saved from."
            )
        for i, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(state[str(i)])


def row_optimizers(
    model: nn.Module,
    *,
    name: Literal["adam", "adagrad", "sgd"] = "adam",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float | None = None,
    update: Update = "auto",
    l2: float = 0.0,
    counts: dict[str, Tensor] | None = None,
) -> RowOptimizers:
    """Attach a row optimiser to every store of `model`; `l2` applies to tables, not to gates.

    `counts` (slot name -> occurrences of each id in training, [rows]) makes the L2 mini-batch aware. With `l2` and
    update="auto" all tables are updated alike, densely only if each is small enough: so the L2 of a model is either on
    all rows or on those of the batch, and not one for wide tables and another for narrow ones.
    """
    tables = [store for store in row_stores(model) if store.group == "table"]
    if update == "auto" and l2 and any(store.weight.numel() > DENSE_LIMIT for store in tables):
        alike: Update = "exact"
    else:
        alike = update
    made: list[RowOptimizer] = []
    summed = {id(table.store): table for table in model.modules() if isinstance(table, SummedTable)}
    for store in row_stores(model):
        own, occurrences = (
            (l2, _counts(store, summed.get(id(store)), counts)) if store.group == "table" else (0.0, None)
        )
        mode: L2Mode = "batch" if occurrences is not None else "touched"
        if name == "adam":
            how = alike if store.group == "table" else update
            made.append(RowAdam(store, betas=betas, eps=eps or 1e-8, update=how, l2=own, counts=occurrences))
        elif name == "adagrad":
            made.append(RowAdagrad(store, eps=eps or 1e-10, l2=own, l2_mode=mode, counts=occurrences))
        else:
            made.append(RowSGD(store, l2=own, l2_mode=mode, counts=occurrences))
    return RowOptimizers(made)


def _counts(store: RowStore, summed: SummedTable | None, counts: dict[str, Tensor] | None) -> Tensor | None:
    if counts is None:
        return None
    missing = [name for name, *_ in store.runs if name not in counts]
    if missing:
        raise UsageError(
            f"l2_mode='batch' divides by how often training met each value, which is not known of slot '{missing[0]}' "
            "(the rows of a hashed table belong to no value); use l2_mode='touched'."
        )
    if summed is not None:
        return summed.occurrences(counts).to(store.weight.device)
    return torch.cat([counts[name][first:last].to(store.weight.device) for name, first, last in store.runs])
