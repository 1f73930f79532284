"""`clicksmith search METHOD TRAIN`: find a Plan."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction

from clicksmith.cli.more_help import model_lines, training_lines
from clicksmith.cli.options import (
    blaming,
    flags,
    model_options,
    option_hints,
    option_lines,
    options_of,
    shown,
    take_dotted,
    training_options,
)
from clicksmith.cli.parse import Columns, Delimiter, call, flag, helping, option
from clicksmith.errors import UsageError

ABOUT = """Find out what a model should look at: features, columns, pairs, shared rows. The answer is a Plan, a JSON
file, under which `clicksmith fit --plan` trains any backbone. Test rows are not opened.

examples:
  clicksmith search optfs train.csv --valid valid.csv --label click --backbone deepfm --out plan.json
  clicksmith search optfs clicks.csv --label click --backbone dcnv2 --out plan.json --search.penalty 1e-5
  clicksmith search graphhash clicks.csv --label click --out maps.json --search.left user --search.right item
  clicksmith fit train.csv --valid valid.csv --label click --model deepfm --plan plan.json

An interrupted search goes on when the same command is given again."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    rest, own = take_dotted(argv, "search")
    rest, model = take_dotted(rest, "model")
    rest, train = take_dotted(rest, "train")
    more = _more_help(rest) if helping(rest) else ""
    return call(search, rest, verb="search", about=ABOUT, more=more, given={"dotted": (own, model, train)})


def search(
    method: Annotated[str, Positional, option("METHOD", "how to search, see below", default="required")],
    train: Annotated[
        tuple[str, ...], Positional, option("TRAIN", "CSV, TSV, Parquet, globs, or DATASET.toml", default="required")
    ],
    /,
    *,
    dotted: tuple[dict[str, str], dict[str, str], dict[str, str]],
    backbone: Annotated[
        str | None, option("NAME", "the model that is searched with", default="required where the method trains")
    ] = None,
    out: Annotated[str | None, option("FILE", "the Plan, as JSON", default="required")] = None,
    label: Annotated[str | None, option("NAME", "the column to predict", default="the schema's")] = None,
    schema: Annotated[str | None, option("FILE", "schema.json or .toml", default="proposed from TRAIN")] = None,
    valid: Annotated[str | None, option("FILE", "rows that select", default="split off, and test left alone")] = None,
    split: Annotated[
        Literal["auto", "random", "time", "group"],
        option("HOW", "by time, by chance, or whole groups", default="by time where there is one"),
    ] = "auto",
    plan: Annotated[
        tuple[tuple[str, ...], ...], UseAppendAction, option("FILES", "search under Plans found before")
    ] = (),
    models: Annotated[tuple[str, ...], option("FILES", "Python files with your own backbones")] = (),
    epochs: Annotated[int | None, option("N", "as in fit; a method may have its own", default="by data size")] = None,
    seed: Annotated[int | None, option("N", "makes the search repeatable", default="0")] = None,
    columns: Columns = None,
    delimiter: Delimiter = None,
    quiet: Annotated[bool, flag("no progress")] = False,
) -> int:
    """Search, print what was found, and say how to train under it."""
    for value, name in ((train, "TRAIN"), (out, "--out FILE")):
        if not value:
            raise UsageError(f"{name} is missing; see `clicksmith search --help`.")
    assert out is not None
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.progress import ShownProgress
    from clicksmith.cli.rows import given_rows
    from clicksmith.cli.show import note
    from clicksmith.fitting.asked import DEFAULT_MODEL, learn_unseen
    from clicksmith.models import MODELS
    from clicksmith.names import lookup
    from clicksmith.search.job import search as run
    from clicksmith.search.job import start_of
    from clicksmith.search.methods import SEARCHES

    chosen = lookup(SEARCHES, method, "search method")
    if epochs is not None and chosen.own_epochs:
        raise UsageError(
            f"--epochs {epochs}: the search {method} has epochs of its own; give --search.epochs {epochs}."
        )
    before = [file for files in plan for file in files]
    if backbone is None and chosen.trains:
        raise UsageError("--backbone NAME is missing; see `clicksmith search --help`.")
    function = lookup({**MODELS, **load_models(models)}, backbone or DEFAULT_MODEL, "model")
    rows = given_rows(train, schema=schema, valid=valid, columns=columns, delimiter=delimiter)
    own, model, settings = dotted
    given: dict[str, Any] = training_options(settings, epochs=epochs, seed=seed)
    spec = learn_unseen(function(**model_options(backbone or DEFAULT_MODEL, function, model)))
    with ShownProgress(quiet=quiet) as progress, blaming(model, train=settings, search=own):
        found = run(
            method,
            rows.train,
            out=out,
            backbone=spec,
            name=backbone,
            label=label,
            schema=rows.asked,
            valid=rows.valid,
            test=rows.test,
            split=split,
            settings={**given, **({} if epochs is None else {"epochs": epochs})},
            options=options_of(chosen.options, own, "--search."),
            plan=before,
            seed=seed,
            progress=progress,
        )
    for line in found.summary():
        print(line)
    words: list[str] = []
    for prefix, texts in (("model", model), ("train", settings)):
        words += [f"--{prefix}.{name.replace('_', '-')}={text}" for name, text in texts.items()]
    words += flags(
        label=label, schema=schema, valid=valid, split=None if split == "auto" else split, columns=columns,
        delimiter=delimiter, models=models, seed=seed,
    )  # fmt: skip
    note(f"\nplan: {out}   look at it: clicksmith plan show {shlex.quote(out)} --html plan.html")
    long = [] if epochs is None else ["--epochs", str(epochs)]
    named = [*train, *([] if backbone is None else ["--model", backbone]), *words, *long]
    start = start_of(Path(out))
    begin = ["--start", str(start)] if start.exists() else []  # the weights that the search left for this backbone
    note(f"next:  clicksmith fit {shlex.join(named)} --plan {shlex.join([*before, out, *begin])}")
    under = ["--plan", *before] if before else []
    again = [*train, *([] if backbone is None else ["--backbone", backbone]), *words, *under]
    wanted = chosen.controls(chosen.options(**options_of(chosen.options, own, "--search.")), found)
    for name, (by, asked) in wanted.items():
        note(_control(name, by, asked, again if SEARCHES[by].own_epochs else [*again, *long]))
    kept = found.parts[-1].found_by.scores.get("kept", 1.0) if wanted else 1.0
    less = max(1, round(kept * spec.embed.dim))
    if less < spec.embed.dim and "dim" in option_hints(function):
        note(_shorter(named, under, less))
    return 0


def _control(name: str, by: str, asked: Mapping[str, Any], again: Sequence[str]) -> str:
    """Return the command of a control, of the size that was found; `again` are the words it shares with the search."""
    size = [f"--search.{key.replace('_', '-')}={shown(value)}" for key, value in asked.items()]
    return f"control: clicksmith search {by} {shlex.join([*again, *size])} --out {name}.json"


def _shorter(named: Sequence[str], under: Sequence[str], dim: int) -> str:
    """Return the command of the plain backbone with vectors so short that it is as large as what was found."""
    rest = [word for word in named if not word.startswith("--model.dim=")]
    return f"control: clicksmith fit {shlex.join([*rest, f'--model.dim={dim}', *under])}"


def _more_help(argv: Sequence[str]) -> str:
    from clicksmith.search.methods import SEARCHES

    lines = ["methods:", *(f"  {name:<15} {one.about}" for name, one in SEARCHES.items())]
    chosen = [one for name, one in SEARCHES.items() if name in argv]
    for one in chosen:
        lines += ["", f"options of {one.name}:", *option_lines(one.options, "--search.")]
    lines += ["", "(`clicksmith search METHOD --help` shows a method's options)"]
    if any(one.trains for one in chosen):
        lines += ["", *model_lines(argv, "--backbone"), "", *training_lines()]
    return "\n".join(lines)
