"""Both optimisers of a model: row-wise for tables and gates, an ordinary fused one for everything else."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clicksmith.embed.rows import Knobs, row_stores
from clicksmith.encode.store import Store
from clicksmith.train.counts import id_counts
from clicksmith.train.dense import DenseOptimizer
from clicksmith.train.rows import RowAdam, Update, row_optimizers
from clicksmith.train.settings import TrainSettings


class Optimizers:
    """What moves the weights of `modules` (the model, the loss if it has weights). `Knobs` are a search's to move."""

    def __init__(self, modules: Sequence[nn.Module], settings: TrainSettings, train: Store) -> None:
        self.settings = settings
        model = modules[0]
        self.rows = row_optimizers(
            model,
            name=settings.optimizer,
            update=_update(settings),
            l2=settings.table_l2,
            counts=id_counts(train) if settings.l2_mode == "batch" else None,
        )
        tables = {id(store.weight) for store in row_stores(model)}
        apart = tables | {id(p) for m in model.modules() if isinstance(m, Knobs) for p in m.parameters()}
        weights = [p for m in modules for p in m.parameters() if p.requires_grad and id(p) not in apart]
        self.dense = DenseOptimizer(settings.optimizer, weights)

    @property
    def table_update(self) -> str:
        """How tables are updated, after "auto" was decided."""
        kinds = {o.update if isinstance(o, RowAdam) else "lazy" for o in self.rows.optimizers}
        return "+".join(sorted(kinds)) or "none"

    def step(self, learning_rate: float) -> None:
        """Apply and forget the gradients."""
        scale = 1.0 if self.settings.clip_norm is None else self._scale(self.settings.clip_norm)
        self.dense.step(learning_rate, self.settings.dense_l2 * scale)
        self.dense.zero_grad()
        self.rows.step(learning_rate, scale)

    def _scale(self, limit: float) -> float:
        """Return what brings the gradient down to the norm `limit`; dense gradients are scaled here already."""
        grads = [p.grad for p in self.dense.weights if p.grad is not None]
        norm = math.sqrt(_square_sum(grads) + self.rows.square_sum())
        if norm <= limit or not math.isfinite(norm):
            return 1.0
        scale = limit / (norm + 1e-6)
        for grad in grads:
            grad.mul_(scale)
        return scale

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.dense.zero_grad()
        self.rows.zero_grad()

    def flush(self) -> None:
        """Bring all rows up to date, before the weights are read."""
        self.rows.flush()

    def detach(self) -> None:
        """Flush and let the model go."""
        self.rows.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two steps, for an exact resume."""
        return {"rows": self.rows.state_dict(), "dense": self.dense.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.rows.load_state_dict(state["rows"])
        self.dense.load_state_dict(state["dense"])


def _update(settings: TrainSettings) -> Update:
    dense = settings.l2_mode == "dense" and settings.table_update == "auto"
    if settings.l2_mode == "touched" and settings.table_update == "auto" and settings.table_l2:
        return "exact"
    return "dense" if dense else settings.table_update


def _square_sum(grads: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(grads)) ** 2 if grads else 0.0
