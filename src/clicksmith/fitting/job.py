"""`fit`: raw rows to a finished run folder, resumable at every step."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from clicksmith.batch.store import Store
from clicksmith.encode.unseen import unmapped_notes
from clicksmith.errors import DataError, UsageError
from clicksmith.evaluate.calibrator import Calibrator, Platt, fit_calibrator
from clicksmith.evaluate.predictions import Predictions
from clicksmith.files import write_bytes
from clicksmith.fitting.asked import (
    DEFAULT_MODEL,
    AskedSchema,
    check_model,
    check_parts,
    new_model,
    plan_for,
    schema_for,
    seed_of,
    settings_for,
    spec_for,
    undo_weights,
)
from clicksmith.fitting.encoded import encoded
from clicksmith.fitting.page import rank_fields, write_page
from clicksmith.fitting.profile import profile_of_run
from clicksmith.fitting.split import How, Parts, parts_of
from clicksmith.fitting.told import FitProgress, Quiet
from clicksmith.models.planned import fill_maps, spec_under
from clicksmith.models.spec import ModelSpec
from clicksmith.parts import to_plain
from clicksmith.plan import Plan
from clicksmith.plan.apply import schema_under
from clicksmith.plan.crossing import notes
from clicksmith.run import Run, RunFolder, RunRecord, begin, claimed, write_json
from clicksmith.schema import Schema
from clicksmith.serve.artifact import Artifact, save
from clicksmith.serve.environment import environment
from clicksmith.serve.predictor import Predictor
from clicksmith.serve.scoring import measure, plain, predictions_of
from clicksmith.train.result import TrainResult
from clicksmith.train.settings import TrainSettings
from clicksmith.train.start import load_start, start_digest
from clicksmith.train.trainer import train as train_model

Calibration = Literal["platt", "isotonic", "none"]

NO_RISE = (
    "on the {} validation rows predictions do not rise with clicks: the calibration left them in their order, close to "
    "the share of clicks. Train longer or on more rows, or check that the validation rows are like those of training."
)


def fit(
    train: Any,
    *,
    label: str | None = None,
    schema: AskedSchema | Schema | str | Path | None = None,
    valid: Any = None,
    test: Any = None,
    split: How = "auto",
    model: str | ModelSpec = DEFAULT_MODEL,
    options: Mapping[str, Any] | None = None,
    name: str | None = None,
    settings: TrainSettings | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    calibration: Calibration = "platt",
    plan: Plan | str | Path | Sequence[Plan | str | Path] = (),
    start: str | Path | None = None,
    cache: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: FitProgress | None = None,
) -> Run:
    """Train a model on raw rows and leave a run folder: artefact, metrics, predictions, log, report.

    Called again with the same arguments it continues an interrupted run, and returns a finished one at once.

    Args:
        train: path, pattern, list of paths, or a polars, pandas or Arrow table; `valid` and `test` likewise.
        label: the column to predict; the schema's if there is one.
        schema: what the columns mean; proposed from `train` if not given.
        valid: rows for early stopping and calibration. Taken off `train` if not given, and `test` with it.
        test: rows that are only measured.
        split: how rows are taken off: "time" by the schema's time column, "random", "group"
            (whole groups of the schema's group column), "auto" by time where there is one.
        model: name of a backbone, or a spec; `options` are the backbone's.
        name: what the run calls the model; its name if not given.
        settings: of training, whole or some of them; what is not given is chosen by data size.
        out: the run folder; made of names and the run's identity if not given.
        calibration: the map fitted on the validation rows.
        cache: a folder in which encoded rows are kept for further runs on the same data.
        plan: what searches found, merged in order; Plans or their files. The model is built under it.
        start: weights to begin with instead of drawn ones: the start file that a search wrote beside its Plan.
        overwrite: replace another run in `out`.
        resume: insist that `out` holds this run half done.
        progress: told how it goes; nothing is printed if it is not given.

    Raises:
        DataError, SchemaError, CompositionError, UsageError, DivergedError, StorageError: as their names say.
    """
    for what, given, known in (("calibration", calibration, Calibration), ("split", split, How)):
        if given not in get_args(known):
            raise UsageError(f"{what}='{given}': choose {', '.join(get_args(known)[:-1])} or {get_args(known)[-1]}.")
    if not isinstance(settings, (Mapping, TrainSettings, type(None))):
        raise UsageError(f"settings is {settings!r}; give a dict, as in {{'epochs': 3}}, or TrainSettings.")
    if not isinstance(options, (Mapping, type(None))):
        raise UsageError(f"options is {options!r}; give a dict, as in {{'dim': 8}}.")
    asked = schema_for(train, label, schema)
    whole_plan = plan_for(plan)
    schema_digest = asked.schema.digest
    asked = replace(asked, schema=schema_under(whole_plan, asked.schema))
    seed = seed_of(settings) if seed is None else seed
    parts = parts_of(train, valid, test, schema=asked.schema, how=split, seed=seed)
    spec = spec_for(model, options, asked.schema)
    if not whole_plan.parts:  # a Plan changes the fields once more when the rows are encoded
        check_model(spec, asked.schema)
    name = name or (model if isinstance(model, str) else "own")
    whole = settings_for(settings, parts.train.rows_hint, spec, epochs=epochs, seed=seed)
    if len(asked.schema.labels) > 1 and (whole.negative_rate != 1.0 or whole.pos_weight != 1.0):
        raise UsageError("negative_rate and pos_weight are for one label; the schema has several. Leave them at 1.")
    check_parts(asked, parts, whole)
    record = RunRecord(
        model=name,
        spec=to_plain(spec),
        settings=msgspec.to_builtins(whole),
        seed=seed,
        schema=schema_digest,
        data=parts.fingerprints() | asked.side_fingerprints(),
        split=parts.how,
        calibration=calibration,
        plan=whole_plan.digest if whole_plan.parts else "",
        start="" if start is None else start_digest(start),
    )
    path = Path(out) if out is not None else default_out(parts, record)
    if resume and RunFolder(path).read_record() is None:
        raise UsageError(f"there is no run to resume in '{path}'; leave out --resume.")
    with claimed(path) as folder:
        if begin(folder, record, overwrite=overwrite, resume=resume) == "done":
            (progress or Quiet()).said(f"'{path}' is already finished, nothing was trained; --overwrite trains anew.")
            return Run.open(path)
        kept = None if cache is None else Path(cache)
        begin_with = None if start is None else Path(start)
        job = _Job(folder, record, asked, parts, spec, whole, whole_plan, begin_with, kept, progress or Quiet())
        job.run()
    return Run.open(path)


def default_out(parts: Parts, record: RunRecord) -> Path:
    """Return the folder of a run that was given none: the same question has the same folder."""
    stem = Path(parts.train.name).name.split(".")[0].replace("*", "").replace("the frame", "frame") or "rows"
    return Path("runs") / f"{stem}-{record.model}-{record.identity[:8]}"


@dataclass(frozen=True)
class _Job:
    """A run that is being made."""

    folder: RunFolder
    record: RunRecord
    asked: AskedSchema
    parts: Parts
    spec: ModelSpec
    settings: TrainSettings
    plan: Plan
    start: Path | None
    cache: Path | None
    progress: FitProgress

    def run(self) -> None:
        """Encode, train, calibrate, measure, save; each step leaves what the next run can go on from."""
        write_json(self.folder.schema, self.asked.schema)
        write_json(self.folder.reasons, {"reasons": self.asked.reasons, "suspects": self.asked.suspects})
        if self.parts.split is not None:
            self.parts.split.save(self.folder.split)
        for suspect in self.asked.suspects:
            self.progress.said(f"suspect: {suspect}")
        for label in self.asked.schema.labels if self.asked.reasons else ():
            if label.positive is not None:
                self.progress.said(f"label: '{label.positive}' of '{label.name}' counts as 1, every other value as 0")
        self.progress.said(f"split: {self.parts.how}")
        home = self.folder.encoded if self.cache is None else self.cache
        applied, stores = encoded(
            self.asked, self.parts, self.plan, home, self.progress, rows=self.record.data["train"]
        )
        encoder = applied.encoder
        spec = spec_under(applied, self.spec)
        sizes = ", ".join(f"{store.rows:,} {name}" for name, store in stores.items())
        self.progress.said(f"rows: {sizes}; {len(encoder.layout.order)} fields")
        for line in self.plan.summary():
            self.progress.said(f"plan: {line}")
        for line in notes(applied):
            self.progress.noted(line)
        for name in stores.keys() - {"train"}:
            for line in unmapped_notes(encoder, stores[name], self.plan.mapped):
                self.progress.noted(f"{name}: {line}")
        model = new_model(spec, encoder.layout, self.record.seed)
        fill_maps(applied, model)
        if self.start is not None:
            load_start(model, encoder.ids_digest, self.start)
        result = train_model(
            model, stores["train"], stores["valid"], self.settings, run_dir=self.folder.training, progress=self.progress
        )
        artifact = Artifact(
            spec=spec,
            model=model.eval(),
            encoder=encoder,
            schema=self.asked.schema,
            bare=self.parts.train.bare,
            plan=self.plan,
            environment=environment(seed=self.record.seed, settings=self.record.settings, data=self.record.data),
        )
        write_bytes(self.folder.log, (self.folder.training / "log.jsonl").read_bytes())
        self._finish(artifact, stores, result)

    def _finish(self, artifact: Artifact, stores: dict[str, Store], result: TrainResult) -> None:
        """Calibrate on valid, measure valid and test, write everything; the record says last that the run is done."""
        predictor = Predictor(artifact)
        measured = {
            name: predictions_of(predictor, stores[name], self._origin(name)) for name in stores if name != "train"
        }
        calibrator, notes = self._calibrator(measured["valid"], result.logit_offset)
        metrics: dict[str, Any] = {}
        for name, predictions in measured.items():
            metrics[name] = plain(measure(predictions, calibrator))
            predictions.save(self.folder.predictions(name))
        notes += result.notes
        first, *further = measured["valid"].outputs
        if further:
            notes.append(
                f"the figures are of the label '{first}'; metrics.json also holds those of {', '.join(further)}"
            )
        if self.record.calibration == "isotonic" and len(calibrator.steps) > len(
            undo_weights(result.logit_offset).steps
        ):
            metrics["valid_uncalibrated"] = plain(measure(measured["valid"], undo_weights(result.logit_offset)))
            notes.append(
                "the isotonic calibration was fitted on valid, whose figures flatter it; see valid_uncalibrated"
            )
        metrics |= {"notes": notes} if notes else {}
        save(self.folder.model, replace(artifact, calibrator=calibrator, metrics=metrics))
        write_json(self.folder.metrics, metrics)
        rank_fields(self.folder, predictor, stores["valid"])
        profile = profile_of_run(artifact.schema, artifact.encoder, stores, self.asked.reasons)
        write_json(self.folder.profile, profile)
        write_page(self.folder)
        self.folder.write_record(msgspec.structs.replace(self.record, done=True))
        for left in (self.folder.training, self.folder.encoded):
            shutil.rmtree(left, ignore_errors=True)

    def _calibrator(self, predictions: Predictions, offset: float) -> tuple[Calibrator, list[str]]:
        """Return what undoes class weights and sampled negatives, then the map fitted on the validation rows."""
        calibrator = undo_weights(offset)
        if self.record.calibration == "none":
            return calibrator, []
        if len(predictions.outputs) > 1:
            return calibrator, [
                f"not calibrated: the model has {len(predictions.outputs)} outputs, and the map is of one"
            ]
        rows = predictions.scored()
        try:
            fitted = fit_calibrator(rows.with_scores(calibrator.apply(rows.scores)), self.record.calibration)
        except DataError as error:
            return calibrator, [f"not calibrated: {error}"]
        notes = [NO_RISE.format(len(rows))] if any(isinstance(s, Platt) and s.held for s in fitted.steps) else []
        return Calibrator((*calibrator.steps, *fitted.steps)), notes

    def _origin(self, name: str) -> dict[str, str]:
        return {"run": self.record.identity, "split": name, "data": self.record.data.get(name, "")}
