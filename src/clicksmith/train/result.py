"""What training gives back."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainResult:
    """How training went. The model itself is trained in place, and ends with the best weights."""

    epochs: int
    """Epochs begun."""
    steps: int
    reason: str
    """Why it ended: "epochs", "steps", "patience", or what `stop` said."""
    best_step: int
    """The step whose weights the model has now."""
    metrics: dict[str, float]
    """Validation metrics of that step; empty without validation rows."""
    history: list[dict[str, Any]] = field(repr=False)
    """One entry per evaluation: kind ("evaluation"), epoch, step, loss, learning_rate, seconds, rows_per_second, valid
    {auc, logloss}."""
    logit_offset: float = 0.0
    """Add this to the logits to undo `pos_weight` and `negative_rate`: log(negative_rate / pos_weight)."""
    device: str = "cpu"
    precision: str = "fp32"
    table_update: str = "auto"
    """How tables were updated."""
    notes: tuple[str, ...] = ()
    """What deserves a look."""
