"""Measuring validation rows, and judging what is measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.auc import auc_of
from clicksmith.evaluate.gauc import gauc_of
from clicksmith.evaluate.logloss import logloss_influence
from clicksmith.evaluate.scored import one_class, scored
from clicksmith.train.settings import Monitor, TrainSettings

_TERMS: dict[Monitor, dict[str, int]] = {
    "auc": {"auc": 1},
    "gauc": {"gauc": 1},
    "logloss": {"logloss": -1},
    "auc-logloss": {"auc": 1, "logloss": -1},
    "gauc+auc": {"gauc": 1, "auc": 1},
}


def check_monitor(monitor: Monitor, valid: Store) -> None:
    """Raise what makes the monitor meaningless on these rows."""
    targets = valid.targets
    if "labels" not in targets:
        raise DataError("the validation rows have no labels; encode them with labels.")
    if valid.rows == 0:
        raise DataError("there are no validation rows; give some, or train without validation.")
    check_groups(monitor, "group" in targets)
    weight, groups = targets.get("weight"), targets.get("group") if "gauc" in _TERMS[monitor] else None
    if weight is not None and not weight.any():
        raise DataError(f"the weight is 0 in all {valid.rows} validation rows; give at least one a positive weight.")
    for i in range(targets["labels"].shape[1] if monitor != "logloss" else 0):
        rows = scored(targets["labels"][:, i], logits=np.zeros(valid.rows, np.float32), weights=weight, groups=groups)
        only = one_class(rows)
        if only is not None:
            of = "" if weight is None else " of rows with a positive weight"
            raise DataError(
                f"all {valid.rows} validation labels{of} are {only}, so monitor='{monitor}' is not defined; "
                "give validation rows of both classes, or use monitor='logloss'."
            )
        if groups is not None:
            gauc_of(rows)  # raises where no group has rows of both classes


def check_groups(monitor: Monitor, grouped: bool) -> None:
    """Raise UsageError where the monitor needs groups and there are none."""
    if "gauc" in _TERMS[monitor] and not grouped:
        raise UsageError(f"monitor='{monitor}' needs groups; declare a group column, or use monitor='auc'.")


def measured(logits: NDArray[np.float32], valid: Store, monitor: Monitor) -> dict[str, float]:
    """Return auc, logloss and (where there are groups and it is monitored) gauc: means over the outputs.

    What is not defined for one of them, as the AUC of one class, is left out.
    """
    targets = valid.targets
    every: dict[str, list[float]] = {}
    labels = targets["labels"]
    outputs = min(labels.shape[1], logits.shape[1])
    for i in range(outputs):
        wanted = targets.get("group") if "gauc" in _TERMS[monitor] else None
        rows = scored(labels[:, i], logits=logits[:, i], weights=targets.get("weight"), groups=wanted)
        found = {"logloss": logloss_influence(rows).value}
        if one_class(rows) is None:
            found["auc"] = auc_of(rows)
        if wanted is not None:
            found["gauc"] = gauc_of(rows).value
        for name, value in found.items():
            every.setdefault(name, []).append(value)
    return {name: sum(values) / outputs for name, values in every.items() if len(values) == outputs}


def score_of(metrics: dict[str, float], monitor: Monitor) -> float:
    """Return one number, larger is better."""
    return sum(sign * metrics[name] for name, sign in _TERMS[monitor].items())


def guessing(auc: float, step: int, rate: float) -> str:
    """Return what to say when nothing has been learned."""
    return (
        f"AUC is {auc:.4f} after {step} steps, as good as guessing. Likely: valid and train label different things; "
        "every id of valid is unseen (a split by id, or min_count too high); the learning rate "
        f"({rate:g}) is far off; or the columns say nothing about the label."
    )


@dataclass
class Judge:
    """What evaluations have been like: the best, and how many in a row were no better."""

    settings: TrainSettings
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    decay: float = 1.0
    """What plateaus have made of the learning rate."""

    def judge(self, score: float, step: int) -> bool:
        """Take a score in; return whether it is the best so far."""
        if self.best is None or score > self.best + self.settings.min_delta:
            self.best, self.best_step, self.stale = score, step, 0
            return True
        self.stale += 1
        self.decay *= self.settings.plateau_factor
        return False

    @property
    def enough(self) -> bool:
        """Whether patience has run out."""
        return self.settings.patience is not None and self.stale >= self.settings.patience

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"best": self.best, "best_step": self.best_step, "stale": self.stale, "decay": self.decay}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.stale, self.decay = state["stale"], state["decay"]
