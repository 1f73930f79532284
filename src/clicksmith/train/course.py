"""How far a training is: everything that a checkpoint keeps of it but weights and moments."""

import time
from dataclasses import dataclass, field
from typing import Any

from clicksmith.train.monitor import Judge


@dataclass
class Pace:
    """Seconds of training, without evaluations and what comes before; and rows since `start`."""

    before: float = 0.0
    """Seconds before `start`."""
    began: float | None = None
    rows: int = 0

    def start(self) -> None:
        """Begin, or go on after a pause."""
        self.began, self.rows = time.monotonic(), 0

    def stop(self) -> None:
        """Pause."""
        self.before, self.began = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.before + self._now()

    @property
    def rows_per_second(self) -> float:
        """Speed since `start`."""
        return self.rows / max(self._now(), 1e-9)

    def _now(self) -> float:
        return 0.0 if self.began is None else time.monotonic() - self.began


@dataclass
class Course:
    """Where training is. `step` counts finished steps over all epochs; everything else follows from it."""

    judge: Judge
    step: int = 0
    reason: str = ""
    """Why it ended; empty while it has not."""
    pace: Pace = field(default_factory=Pace)
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    notes: list[str] = field(default_factory=list[str])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "step": self.step, "reason": self.reason, "seconds": self.pace.seconds, "judge": self.judge.state(),
            "history": self.history, "notes": self.notes,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.step, self.reason, self.pace = state["step"], state["reason"], Pace(state["seconds"])
        self.history, self.notes = state["history"], state["notes"]
        self.judge.load(state["judge"])
