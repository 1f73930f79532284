"""What a trial trains, whatever kind of model it is: how it scores rows, what it cost, how training went."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.cost import flops_per_row, latency_ms
from clicksmith.bench.row import Configuration
from clicksmith.encode.store import Store
from clicksmith.fitting.asked import new_model
from clicksmith.models.spec import ModelSpec
from clicksmith.train.predict import predict_logits
from clicksmith.train.progress import Progress
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train
from clicksmith.trees.grow import grow
from clicksmith.trees.spec import Trees

Score = Callable[[Store], NDArray[np.float32]]
"""Rows in, logits [rows] out."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained model, selected on validation rows."""

    score: Score
    embedding: int
    """Parameters that belong to ids; `dense`: all others."""
    dense: int
    flops_per_row: int | None
    valid: dict[str, float]
    """Validation metrics of the kept weights."""
    epochs: int
    best_epoch: int
    reason: str
    curve: list[dict[str, Any]]
    """One entry per evaluation."""
    seconds_to_best: float
    rows_per_second: float
    device: str
    latency_ms: float | msgspec.UnsetType = msgspec.UNSET
    latency_p99_ms: float | msgspec.UnsetType = msgspec.UNSET
    packages: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of what only this kind of model needs."""


def fit_torch(
    spec: ModelSpec, asked: Configuration, train_rows: Store, valid: Store, progress: Progress, *, folder: Path
) -> Fitted:
    """Train a spec; go on from the checkpoint in `folder` if a killed trial left one."""
    settings = msgspec.convert(asked.settings, TrainSettings)
    model = new_model(spec, train_rows.layout, settings.seed)
    flops = flops_per_row(model, train_rows)
    result = train(model, train_rows, valid, settings, run_dir=folder, progress=progress)
    counts = model.parameter_counts()
    best = next(entry for entry in result.history if entry["step"] == result.best_step)
    typical, late = latency_ms(model, train_rows)
    return Fitted(
        score=lambda store: predict_logits(model, store)[:, 0] + np.float32(result.logit_offset),
        embedding=counts.embedding,
        dense=counts.dense,
        flops_per_row=flops,
        valid=result.metrics,
        epochs=result.epochs,
        best_epoch=best["epoch"],
        reason=result.reason,
        curve=_curve(result.history),
        seconds_to_best=best["seconds"],
        rows_per_second=median(entry["rows_per_second"] for entry in result.history),
        device=result.device,
        latency_ms=typical,
        latency_p99_ms=late,
    )


def fit_trees(
    spec: Trees, asked: Configuration, train_rows: Store, valid: Store, progress: Progress, *, threads: int
) -> Fitted:
    """Grow trees."""
    monitor = asked.settings["monitor"]
    grown = grow(spec, train_rows, valid, seed=asked.seed, monitor=monitor, threads=threads, progress=progress)
    return Fitted(
        score=grown.score,
        embedding=grown.features.statistics,
        dense=grown.size,
        flops_per_row=None,
        valid=grown.best["valid"],
        epochs=grown.history[-1]["epoch"],
        best_epoch=grown.best["epoch"],
        reason=grown.reason,
        curve=_curve(grown.history),
        seconds_to_best=grown.best["seconds"],
        rows_per_second=grown.history[-1]["rows_per_second"],
        device="cpu",
        packages={"lightgbm": grown.version},
    )


def _curve(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "kind"} for entry in history]
