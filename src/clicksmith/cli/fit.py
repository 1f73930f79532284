"""`clicksmith fit TRAIN`: raw rows to a trained, measured, saved model."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction

from clicksmith.cli.more_help import model_lines, training_lines
from clicksmith.cli.options import (
    blaming,
    flags,
    literal,
    model_options,
    option_hints,
    take_dotted,
    take_sets,
    training_options,
)
from clicksmith.cli.parse import Columns, Delimiter, call, flag, helping, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.models.register import ModelFunction
    from clicksmith.models.spec import ModelSpec
    from clicksmith.run import Run

ABOUT = """Train a model on raw rows: propose a schema, encode, train, calibrate, measure, save, report.

examples:
  clicksmith fit clicks.csv --label click
  clicksmith fit train.csv --valid valid.csv --test test.csv --label click --model dcnv2 --out run
  clicksmith fit clicks.parquet --schema schema.json --model.dim 32 --train.learning-rate 5e-4 --epochs 3
  clicksmith fit clicks.csv --label click --models my_model.py --model my_model
  clicksmith fit clicks.csv --label click --model deepfm --plan kept.json maps.json
  clicksmith fit clicks.csv --label click --set embed.unseen_rate=0     any value within the model's spec
  clicksmith fit shop.toml                                a data set declared in one file: rows, parts, schema

An interrupted run continues when the same command is given again."""


@dataclass(frozen=True)
class Dotted:
    """Options of the model, of training, and nested ones, as typed."""

    model: dict[str, str]
    train: dict[str, str]
    sets: dict[str, str]


@dataclass(frozen=True)
class DataOptions:
    """What the columns mean, and how the rows are read and divided."""

    schema: Annotated[str | None, option("FILE", "schema.json or .toml", default="proposed from TRAIN")] = None
    split: Annotated[
        Literal["auto", "random", "time", "group"],
        option("HOW", "by time, by chance, or whole groups", default="by time where there is one"),
    ] = "auto"
    columns: Columns = None
    delimiter: Delimiter = None
    cache: Annotated[str | None, option("FOLDER", "keep encoded rows here for the next run")] = None


@dataclass(frozen=True)
class RunOptions:
    """Backbones of your own, calibration, and what becomes of an older run."""

    models: Annotated[tuple[str, ...], option("FILES", "Python files with your own backbones")] = ()
    calibration: Annotated[
        Literal["platt", "isotonic", "none"], option("HOW", "map fitted on valid", default="platt")
    ] = "platt"
    plan: Annotated[
        tuple[tuple[str, ...], ...], UseAppendAction, option("FILES", "build the model under Plans, merged in order")
    ] = ()
    start: Annotated[str | None, option("FILE", "begin with the weights that a search left beside its Plan")] = None
    overwrite: Annotated[bool, flag("replace another run in RUN_DIR")] = False
    resume: Annotated[bool, flag("insist that RUN_DIR holds this run unfinished")] = False
    quiet: Annotated[bool, flag("no progress")] = False


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    rest, model = take_dotted(argv, "model")
    rest, train = take_dotted(rest, "train")
    rest, sets = take_sets(rest)
    more = "\n".join([*model_lines(rest, "--model"), "", *training_lines()]) if helping(rest) else ""
    return call(fit, rest, verb="fit", about=ABOUT, more=more, given={"dotted": Dotted(model, train, sets)})


def fit(
    train: Annotated[
        tuple[str, ...], Positional, option("TRAIN", "CSV, TSV, Parquet, globs, or DATASET.toml", default="required")
    ],
    /,
    *,
    dotted: Dotted,
    label: Annotated[str | None, option("NAME", "the column to predict", default="the schema's")] = None,
    valid: Annotated[str | None, option("FILE", "rows for early stopping and calibration", default="split off")] = None,
    test: Annotated[str | None, option("FILE", "rows for the final figures", default="split off with valid")] = None,
    model: Annotated[str | None, option("NAME", "the backbone", default="dcnv2")] = None,
    out: Annotated[str | None, option("RUN_DIR", "the run folder", default="runs/TRAIN-MODEL-...")] = None,
    epochs: Annotated[int | None, option("N", "at most this many passes", default="by data size")] = None,
    seed: Annotated[int | None, option("N", "makes the run repeatable", default="0")] = None,
    data: DataOptions = DataOptions(),
    run: RunOptions = RunOptions(),
) -> int:
    """Train, save, and say where everything is."""
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.progress import ShownProgress
    from clicksmith.cli.rows import given_rows
    from clicksmith.cli.show import note
    from clicksmith.fitting.asked import DEFAULT_MODEL
    from clicksmith.fitting.job import fit

    if not train:
        raise UsageError("TRAIN is missing; see `clicksmith fit --help`.")
    rows = given_rows(train, schema=data.schema, valid=valid, test=test, columns=data.columns, delimiter=data.delimiter)
    own = load_models(run.models)
    if model is None and len(own) > 1:
        raise UsageError(f"{', '.join(run.models)} hold several models: {', '.join(own)}; name one with --model.")
    name = model or next(iter(own), DEFAULT_MODEL)
    with ShownProgress(quiet=run.quiet) as progress, blaming(dotted.model, dotted.sets, dotted.train):
        done = fit(
            rows.train,
            label=label,
            schema=rows.asked,
            valid=rows.valid,
            test=rows.test,
            split=data.split,
            model=_spec(name, dotted, own),
            name=name,
            settings=training_options(dotted.train, epochs=epochs, seed=seed),
            out=out,
            seed=seed,
            epochs=epochs,
            calibration=run.calibration,
            plan=[file for files in run.plan for file in files],
            start=run.start,
            cache=data.cache,
            overwrite=run.overwrite,
            resume=run.resume,
            progress=progress,
        )
    _close(done)
    note(f"\nmodel: {done.path}   report: {done.folder.report}")
    more = flags(out="scores.csv", delimiter=data.delimiter, models=run.models)  # the run remembers the columns
    note(f"next:  clicksmith predict {shlex.quote(str(done.path))} NEW_ROWS.csv {shlex.join(more)}")
    return 0


def _spec(name: str, dotted: Dotted, own: "dict[str, ModelFunction]") -> "ModelSpec":
    from clicksmith.fitting.asked import learn_unseen
    from clicksmith.models import MODELS
    from clicksmith.names import lookup
    from clicksmith.parts import edited

    function = lookup({**MODELS, **own}, name, "model")
    flat = {key: text for key, text in dotted.sets.items() if "." not in key and key in option_hints(function)}
    for key in flat.keys() & dotted.model.keys():
        if flat[key] != dotted.model[key]:
            raise UsageError(
                f"--model.{key.replace('_', '-')} {dotted.model[key]} and --set {key}={flat[key]} are one option; "
                "leave one out."
            )
    options = model_options(name, function, {**flat, **dotted.model})
    nested = {key: text for key, text in dotted.sets.items() if key not in flat}
    spec = learn_unseen(function(**options))
    return edited(spec, {path: literal(text) for path, text in nested.items()}, "--set ")


def _close(run: "Run") -> None:
    from clicksmith.cli.show import table

    rows: list[list[str]] = []
    for split, found in run.metrics.items():
        if not isinstance(found, dict) or "rows" not in found:
            continue
        for name in ("auc", "gauc", "logloss", "predicted_over_observed"):
            if found.get(name) is not None:
                low, high = found.get("intervals", {}).get(name) or (None, None)
                between = "" if low is None else f"{low:.4f} – {high:.4f}"
                rows.append([split, name, f"{found[name]:.4f}", between, f"{found['rows']:,}"])
    table(["split", "metric", "value", "95% interval", "rows"], rows, numbers=(2, 4))
    for text in run.metrics.get("notes", []):
        print(f"note: {text}")
    sys.stdout.flush()
