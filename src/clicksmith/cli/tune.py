"""`clicksmith tune TRAIN`: search options and settings on validation rows."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from clicksmith.cli.more_help import model_lines, training_lines
from clicksmith.cli.options import blaming, flags, model_options, take_dotted, training_options
from clicksmith.cli.parse import Columns, Delimiter, call, flag, helping, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.tuning.result import Found, Tuned

ABOUT = """Search the options of a model and the settings of training for the best validation metric.
Test rows are not opened.

examples:
  clicksmith tune train.csv --valid valid.csv --label click --model dcnv2 --out search
  clicksmith tune clicks.csv --label click --model deepfm --out search --trials 100 --jobs 4 --timeout 3600
  clicksmith tune clicks.csv --label click --model finalmlp --out search --model.dim 10 --train.epochs 5    fixed
  clicksmith tune clicks.csv --label click --model dcnv2 --print-space > space.toml       then edit it
  clicksmith tune clicks.csv --label click --model dcnv2 --out grid --space space.toml --sampler grid

The same command again goes on with an interrupted search; given several times at once, the processes share it."""

SHOWN = 10
"""Trials in the printed table."""
REASONS = 5
"""Failures that are told below it, each with its trials."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    rest, model = take_dotted(argv, "model")
    rest, train = take_dotted(rest, "train")
    more = _more_help(rest) if helping(rest) else ""
    return call(tune, rest, verb="tune", about=ABOUT, more=more, given={"fixed": (model, train)})


def tune(
    train: Annotated[
        tuple[str, ...], Positional, option("TRAIN", "CSV, TSV, Parquet, globs, or DATASET.toml", default="required")
    ],
    /,
    *,
    fixed: tuple[dict[str, str], dict[str, str]],
    model: Annotated[str | None, option("NAME", "the backbone, or LightGBM", default="required")] = None,
    out: Annotated[str | None, option("DIR", "the folder of the search", default="required")] = None,
    label: Annotated[str | None, option("NAME", "the column to predict", default="the schema's")] = None,
    schema: Annotated[str | None, option("FILE", "schema.json or .toml", default="proposed from TRAIN")] = None,
    valid: Annotated[str | None, option("FILE", "rows that judge", default="split off, and test left alone")] = None,
    split: Annotated[
        Literal["auto", "random", "time", "group"],
        option("HOW", "by time, by chance, or whole groups", default="by time where there is one"),
    ] = "auto",
    models: Annotated[tuple[str, ...], option("FILES", "Python files with your own backbones")] = (),
    space: Annotated[str | None, option("FILE", "what is searched, as TOML", default="from the options")] = None,
    trials: Annotated[int | None, option("N", "configurations in all", default="30, or the whole grid")] = None,
    timeout: Annotated[float | None, option("S", "seconds after which no trial begins")] = None,
    sampler: Annotated[Literal["tpe", "random", "grid"], option("HOW", "what proposes", default="tpe")] = "tpe",
    pruner: Annotated[
        Literal["asha", "hyperband", "none"] | None,
        option("HOW", "what gives bad trials up", default="asha; none for LightGBM"),
    ] = None,
    jobs: Annotated[int, option("N", "trials at once, a process and a thread each", default="1")] = 1,
    engine: Annotated[
        Literal["local", "ray"], option("WHAT", "what runs trials; ray is Ray Tune", default="local")
    ] = "local",
    seed: Annotated[int | None, option("N", "of proposals and trials", default="0")] = None,
    columns: Columns = None,
    delimiter: Delimiter = None,
    print_space: Annotated[bool, flag("print what would be searched, as TOML, and end")] = False,
    quiet: Annotated[bool, flag("no progress")] = False,
) -> int:
    """Search, print the best trials, and say how to train the best."""
    if not train:
        raise UsageError("TRAIN is missing; see `clicksmith tune --help`.")
    if model is None or (out is None and not print_space):
        missing = "--model NAME" if model is None else "--out DIR"
        raise UsageError(f"{missing} is missing; see `clicksmith tune --help`.")
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.progress import ShownProgress
    from clicksmith.cli.rows import given_rows
    from clicksmith.cli.show import note
    from clicksmith.models import MODELS
    from clicksmith.names import lookup
    from clicksmith.trees.spec import LIGHTGBM, Trees
    from clicksmith.tuning.job import asked_search
    from clicksmith.tuning.job import tune as search
    from clicksmith.tuning.space import space_text

    function = lookup({**MODELS, LIGHTGBM: Trees, **load_models(models)}, model, "model")
    rows = given_rows(train, schema=schema, valid=valid, columns=columns, delimiter=delimiter)
    asked: dict[str, Any] = {
        "label": label, "schema": rows.asked, "valid": rows.valid, "test": rows.test, "split": split,
        "model": model, "models": models, "space": space, "seed": seed,
        "options": model_options(model, function, fixed[0]),
        "settings": training_options(fixed[1], seed=seed),
    }  # fmt: skip
    if print_space:
        print(space_text(asked_search(rows.train, **asked).space))
        return 0
    assert out is not None
    with ShownProgress(quiet=quiet) as progress, blaming(fixed[0], train=fixed[1]):
        found = search(
            rows.train, out=out, trials=trials, timeout=timeout, sampler=sampler, pruner=pruner, jobs=jobs,
            engine=engine, progress=progress, **asked,
        )  # fmt: skip
    _print(found)
    best = found.best
    given = flags(
        label=label, schema=schema, valid=valid, split=None if split == "auto" else split, columns=columns,
        delimiter=delimiter, models=models, seed=seed, model=model,
    )  # fmt: skip
    words = [*train, *given, *_dotted(best)]
    note(f"\nbest: {found.path / 'best.json'}   report: {found.path / 'report.html'}")
    if function is Trees:  # a baseline to compare with; `fit` does not train it
        options = ", ".join(f"{name} = {value!r}" for name, value in best.options.items())
        note("next:  clicksmith bench run DATA.toml --settings FILE.toml, with these lines in FILE.toml:")
        print(f'[models."{LIGHTGBM}, tuned"]\nname = "{LIGHTGBM}"\noptions = {{ {options} }}')
        return 0
    note(f"next:  clicksmith fit {shlex.join(words)} --out {shlex.quote(str(found.path / 'best'))}")
    return 0


def _dotted(best: "Found") -> list[str]:
    """Return the flags of `fit` that give the best configuration."""
    words: list[str] = []
    for prefix, values in (("model", best.options), ("train", best.changes)):
        for name, value in values.items():
            words += [f"--{prefix}.{name.replace('_', '-')}", _text(value)]
    return words


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _print(found: "Tuned") -> None:
    from clicksmith.cli.show import table
    from clicksmith.tuning.page import text_of

    tried: dict[str, set[str]] = {}
    for trial in found.trials:
        for name, value in trial.values.items():
            tried.setdefault(name, set()).add(text_of(value))
    names = [name for name, values in tried.items() if len(values) > 1]
    metrics = [name for name in (found.trials[0].valid if found.trials else ()) if name != found.monitor]
    rows: list[list[str]] = []
    for trial in found.trials[:SHOWN]:
        score = "" if trial.score is None else f"{trial.score:.4f}"
        measured = [score, *(f"{trial.valid[name]:.4f}" if name in trial.valid else "" for name in metrics)]
        values = [text_of(trial.values[name]) if name in trial.values else "" for name in names]
        rows.append([str(trial.number), trial.state, *measured, str(trial.epochs), *values])
    numbers = (0, *range(2, 4 + len(metrics)))
    head = ["trial", "state", found.monitor, *metrics, "epochs", *(name.partition(".")[2] for name in names)]
    table(head, rows, numbers=numbers)
    same = sum(len(trial.same) for trial in found.trials)
    counts = [f"{found.count(state)} {state}" for state in ("complete", "pruned", "failed") if found.count(state)]
    again = f"; {same} proposals were the same as another and were not run" if same else ""
    print(f"\n{len(found.trials)} trials: {', '.join(counts)}{again}")
    failures: dict[str, list[str]] = {}
    for trial in found.trials:
        if trial.state == "failed":
            failures.setdefault(trial.error, []).append(str(trial.number))
    for error, these in list(failures.items())[:REASONS]:
        print(f"failed: trial {', '.join(these)}: {error}")
    if found.importances:
        print()
        shares = [[name, f"{share:.2f}"] for name, share in found.importances.items()]
        table(["parameter", "importance"], shares, numbers=(1,))


def _more_help(argv: Sequence[str]) -> str:
    from clicksmith.trees.spec import LIGHTGBM, Trees

    lines = model_lines(argv, "--model", {LIGHTGBM: Trees})
    return "\n".join(
        [*lines, "", "Options of the model and of training that are given are fixed.", "", *training_lines()]
    )
