"""One trial: spec, settings and seed in, validation metrics out. It knows nothing of the search around it."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from clicksmith.encode.store import Store
from clicksmith.errors import ClicksmithError, StorageError
from clicksmith.fitting.asked import new_model
from clicksmith.fitting.told import Quiet
from clicksmith.models.register import own_place, with_place
from clicksmith.models.spec import ModelSpec
from clicksmith.parts import from_plain
from clicksmith.train.monitor import score_of
from clicksmith.train.result import TrainResult
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import Stop, train
from clicksmith.trees.grow import Grown, grow
from clicksmith.trees.spec import Trees

Prune = Callable[[list[float]], bool]
"""Asked after each evaluation, with the scores of all so far (larger is better): whether to give the trial up."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a trial needs, as values that another process can read."""

    spec: dict[str, Any]
    settings: TrainSettings
    train: str
    """Folder of the encoded training rows; `valid` likewise. There is no third."""
    valid: str
    folder: str
    """Where checkpoints are kept while it goes on."""
    models: tuple[str, ...] = ()
    """Files of the user's own parts."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a trial."""

    state: Literal["complete", "pruned", "failed"]
    score: float | None = None
    """That of the model which `fit` would leave, of the monitored metric, larger is better: the best of `scores`, or
    the last where the settings do not restore the best."""
    valid: dict[str, float] = {}
    """The validation metrics of that evaluation."""
    scores: tuple[float, ...] = ()
    """By evaluation."""
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""


class _Silent(Quiet):
    """Says nothing: the search speaks for its trials."""

    def noted(self, text: str) -> None:
        """Say nothing."""


def _left(task: Task, result: TrainResult | Grown, scores: Sequence[float]) -> dict[str, Any]:
    """Return the evaluation of the model that training ends with."""
    last = isinstance(result, TrainResult) and not task.settings.restore_best
    return result.history[-1 if last else scores.index(max(scores))]


def _trained(task: Task, rows: Store, judges: Store, stop: Stop) -> TrainResult | Grown:
    spec, settings = from_plain(task.spec), task.settings
    if isinstance(spec, Trees):
        return grow(
            spec, rows, judges, seed=settings.seed, monitor=settings.monitor, threads=torch.get_num_threads(),
            progress=_Silent(), stop=stop,
        )  # fmt: skip
    assert isinstance(spec, ModelSpec)
    model = new_model(spec, rows.layout, settings.seed)
    return train(model, rows, judges, settings, run_dir=task.folder, progress=_Silent(), stop=stop)


def run_trial(task: Task, prune: Prune) -> Outcome:
    """Train and judge; go on from a checkpoint if a killed trial left one.

    What a configuration can cause (it diverges, its parts do not fit, own parts raise, memory runs out) is an
    outcome, not an error.
    """
    monitor = task.settings.monitor

    def stop(history: Any) -> str:
        return "pruned" if prune([score_of(entry["valid"], monitor) for entry in history]) else ""

    began = time.monotonic()
    try:
        rows, judges = Store.open(task.train), Store.open(task.valid)
        result = _trained(task, rows, judges, stop)
    except StorageError:
        raise  # a full disk is no fault of the configuration
    except Exception as error:
        if not isinstance(error, (ClicksmithError, MemoryError, RuntimeError)) and not own_place(error):
            raise
        outcome = Outcome(state="failed", error=with_place(error)[:500], seconds=time.monotonic() - began)
    else:
        scores = tuple(score_of(entry["valid"], monitor) for entry in result.history)
        best = _left(task, result, scores)
        outcome = Outcome(
            state="pruned" if result.reason == "pruned" else "complete",
            score=score_of(best["valid"], monitor),
            valid=best["valid"],
            scores=scores,
            epochs=result.history[-1]["epoch"],
            seconds=result.history[-1]["seconds"],
        )
    shutil.rmtree(Path(task.folder), ignore_errors=True)
    return outcome
