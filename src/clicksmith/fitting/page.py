"""The HTML page of a run, from what lies in its folder."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, DataError
from clicksmith.evaluate.calibrator import Calibrator
from clicksmith.evaluate.metrics import metric_named
from clicksmith.evaluate.predictions import Predictions
from clicksmith.explain.permutation import Importances, permutation_importance
from clicksmith.files import write_bytes
from clicksmith.fitting.profile import DataProfile
from clicksmith.plan import Plan
from clicksmith.report import Bar, Ranking, ReportData, curves_of, distribution_of, page
from clicksmith.run import RunFolder, write_json
from clicksmith.serve.environment import Environment
from clicksmith.serve.predictor import Predictor
from clicksmith.serve.scoring import measure
from clicksmith.serve.size import size_of

T = TypeVar("T")

IMPORTANCE_ROWS = 10_000
"""Validation rows behind the ranking of a run's page: enough to see the order, quick enough for every run."""


class Reasons(msgspec.Struct, frozen=True):
    """What a schema was proposed with."""

    suspects: tuple[str, ...] = ()


def rank_fields(folder: RunFolder, predictor: Predictor, valid: Store) -> None:
    """Write how much each field helps on validation rows; where that is not defined, nothing is written."""
    try:
        found = permutation_importance(
            predictor.logits, valid, repeats=2, max_rows=IMPORTANCE_ROWS, crosses=predictor.artifact.encoder.crosses
        )
    except DataError:
        return
    write_json(folder.importance, found)


def write_page(folder: RunFolder, target: Path | None = None, *, possible: Mapping[str, float] | None = None) -> Path:
    """Write the page of a finished run to `target`, else into its folder; return the path.

    `possible` is the best value of each metric that any model can reach on the last split, where the truth is known.
    """
    record = folder.read_record()
    if record is None:
        raise ArtifactError(f"'{folder.path}' is not a run folder; give the folder that `clicksmith fit` wrote.")
    environment = _read(folder.model / "environment.json", Environment)
    splits = [name for name in ("valid", "test") if folder.predictions(name).exists()]
    predictions = {name: Predictions.open(folder.predictions(name)) for name in splits}
    calibrator = _read(folder.model / "calibrator.json", Calibrator)
    measured = {name: next(iter(measure(found, calibrator).values())) for name, found in predictions.items()}
    shown = {n: p.scored().with_scores(calibrator.apply(p.scored().scores)) for n, p in predictions.items()}
    suspects = _read(folder.reasons, Reasons).suspects
    profile = _read(folder.profile, DataProfile) if folder.profile.exists() else DataProfile()
    data = ReportData(
        title=f"{record.model} on {folder.path.resolve().name}",
        subtitle=record.split,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=measured,
        possible=dict(possible or {}),
        curves=curves_of(folder.read_log()),
        distributions={name: distribution_of(rows) for name, rows in shown.items()},
        rankings=_rankings(folder),
        parts=profile.parts,
        profile=profile.columns,
        notes=tuple(f"suspect: {text}" for text in suspects) + _notes(folder),
        plan=Plan.load(plan) if (plan := folder.model / "plan.json").exists() else Plan(),
        settings={"model": record.model, "size": size_of(folder.model).line(), "seed": record.seed, **record.settings},
        environment={**environment.packages, "python": environment.python, "processor": environment.processor},
    )
    path = target or folder.report
    write_bytes(path, page(data).encode())
    return path


def _rankings(folder: RunFolder) -> tuple[Ranking, ...]:
    if not folder.importance.exists():
        return ()
    found = _read(folder.importance, Importances)
    bars = tuple(Bar(i.field, i.drop, i.low, i.high) for i in found.fields)
    unit = f"drop of {metric_named(found.metric).title} when shuffled, {found.rows:,} valid rows"
    return (Ranking("Importance of fields", bars, f"{unit}; {found.level:.0%} intervals"),)


def _notes(folder: RunFolder) -> tuple[str, ...]:
    return tuple(folder.read_metrics().get("notes", ()))


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ArtifactError(f"cannot read '{path}': {error.strerror}; fit again.") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); fit again.") from error
