"""What a trainer tells while it works; pass any object with these methods."""

import warnings
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to happen."""

    rows: int
    """Rows of an epoch."""
    steps: int
    """Steps of an epoch."""
    epochs: int
    """At most; training may stop earlier."""
    total: int
    """Steps in all, at most."""
    done: int
    """Steps done before (a resumed run)."""
    device: str
    precision: str


@dataclass(frozen=True, slots=True)
class StepState:
    """Where training is; `step` counts from 1 over all epochs, `epoch` from 1."""

    epoch: int
    step: int
    loss: float
    """Mean over the rows of this epoch so far."""
    learning_rate: float
    rows_per_second: float


class Progress(Protocol):
    """Told about ten times a second at most, so that it costs nothing."""

    def started(self, plan: Plan) -> None:
        """Training begins, or goes on."""
        ...

    def stepped(self, state: StepState) -> None:
        """Some steps are done."""
        ...

    def evaluated(self, entry: dict[str, Any]) -> None:
        """An evaluation is done; `entry` is the line of the log (see `clicksmith.train.history`)."""
        ...

    def noted(self, text: str) -> None:
        """Something deserves a look."""
        ...

    def finished(self, reason: str) -> None:
        """Training has ended: "epochs", "steps", "patience", what `stop` said, "interrupted" or "failed"."""
        ...


class Silent:
    """Says nothing, but for what deserves a look: that is a warning."""

    def started(self, plan: Plan) -> None:
        """Say nothing."""

    def stepped(self, state: StepState) -> None:
        """Say nothing."""

    def evaluated(self, entry: dict[str, Any]) -> None:
        """Say nothing."""

    def noted(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, RuntimeWarning, stacklevel=2)

    def finished(self, reason: str) -> None:
        """Say nothing."""
