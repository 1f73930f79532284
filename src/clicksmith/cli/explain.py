"""`clicksmith explain RUN_DIR FILE`: what a trained model looks at."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from clicksmith.cli.parse import Columns, Delimiter, call, flag, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.encode.store import Store
    from clicksmith.serve.predictor import Predictor

ABOUT = """Show what a trained model looks at.

  permutation  how much a metric drops when a field is shuffled; for every model, needs labels
  attention    which fields look at which; for autoint and autoint_plus
  gates        which fields each stream lets pass; for finalmlp

examples:
  clicksmith explain run test.csv
  clicksmith explain run test.csv --how attention --row 0      one row
  clicksmith explain run test.csv --metric logloss --json"""

How = Literal["permutation", "attention", "gates"]

ROWS = 20_000
"""Rows used at most, unless told."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(explain, argv, verb="explain", about=ABOUT)


def explain(
    run_dir: Annotated[str, Positional, option("RUN_DIR", "what `clicksmith fit` wrote", default="required")],
    file: Annotated[str, Positional, option("FILE", "raw rows: CSV, TSV or Parquet", default="required")],
    /,
    *,
    how: Annotated[How, option("HOW", "permutation, attention or gates", default="permutation")] = "permutation",
    metric: Annotated[str | None, option("NAME", "what drops: auc, logloss, gauc, brier", default="auc")] = None,
    rows: Annotated[int | None, option("N", "rows used at most", default="20000")] = None,
    repeats: Annotated[int | None, option("N", "shuffles of each field", default="3")] = None,
    row: Annotated[int | None, option("N", "attention or gates of this row, from 0", default="mean of all")] = None,
    json: Annotated[bool, flag("print JSON instead of a table")] = False,
    columns: Columns = None,
    delimiter: Delimiter = None,
    models: Annotated[tuple[str, ...], option("FILES", "your own model files, if the model is one")] = (),
) -> int:
    """Measure and print."""
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.rows import opened
    from clicksmith.cli.show import json_out, table
    from clicksmith.serve.predictor import load

    for name, given, least in (("rows", rows, 2), ("repeats", repeats, 1)):
        if given is not None and given < least:
            raise UsageError(f"--{name} got {given}; give at least {least}.")
    if how == "permutation" and row is not None:
        raise UsageError("--row is of --how attention or gates; permutation shuffles many rows. Leave it out.")
    for name, given in (("metric", metric), ("repeats", repeats)):
        if how != "permutation" and given is not None:
            raise UsageError(f"--{name} is of --how permutation; --how {how} shuffles nothing. Leave it out.")
    if rows is not None and row is not None:
        raise UsageError(f"--rows {rows} and --row {row} exclude each other; give one of them.")
    most = ROWS if rows is None else rows
    load_models(models)
    predictor = load(run_dir)
    with predictor.encoded(opened([file], columns, delimiter, predictor), labels=how == "permutation") as store:
        if how == "permutation":
            head, lines = _permutation(predictor, store, metric or "auc", most, repeats or 3)
        else:
            head, lines = (_attention if how == "attention" else _gates)(predictor, store, most, row)
    if json:
        json_out([dict(zip(head, line, strict=True)) for line in lines])
    else:
        shown = [[f"{x:.5f}" if isinstance(x, float) else str(x) for x in line] for line in lines]
        head = [f"{metric or 'auc'} worse by" if name == "drop" else name for name in head]
        table(head, shown, numbers=[i for i, x in enumerate(lines[0]) if isinstance(x, float)] if lines else ())
    return 0


Lines = tuple[list[str], list[list[Any]]]


def _permutation(predictor: "Predictor", store: "Store", metric: str, rows: int, repeats: int) -> Lines:
    from clicksmith.cli.show import note
    from clicksmith.explain.permutation import permutation_importance

    artifact = predictor.artifact
    found = permutation_importance(
        lambda part: artifact.calibrator.apply(predictor.logits(part)),  # what is served, as `evaluate` measures it
        store, metric=metric, max_rows=rows, repeats=repeats, crosses=artifact.encoder.crosses,
    )  # fmt: skip
    note(
        f"{found.metric} {found.base:.5f} on {found.rows:,} rows; how much worse it gets when a field's values are "
        f"shuffled, with {found.level:.0%} intervals:"
    )
    return ["field", "drop", "low", "high"], [[i.field, i.drop, i.low, i.high] for i in found.fields]


def _attention(predictor: "Predictor", store: "Store", rows: int, row: int | None) -> Lines:
    from clicksmith.explain.attention import attention_of_row, mean_attention

    model = predictor.artifact.model
    found = mean_attention(model, _inputs(store, rows)) if row is None else attention_of_row(model, _one(store, row))
    return ["field", "other field", "attention"], [[a, b, x] for a, b, x in found.pairs()]


def _gates(predictor: "Predictor", store: "Store", rows: int, row: int | None) -> Lines:
    from clicksmith.explain.gates import gates_of_row, mean_gates

    model = predictor.artifact.model
    found = mean_gates(model, _inputs(store, rows)) if row is None else gates_of_row(model, _one(store, row))
    return ["gate", "field", "factor"], [[name, field, x] for name, gate in found.items() for field, x in gate.ranked()]


def _inputs(store: "Store", rows: int) -> Iterator[Any]:
    from clicksmith.batch.batch import inputs_of
    from clicksmith.serve.predictor import ROWS as AT_ONCE

    for start in range(0, min(rows, store.rows), AT_ONCE):
        yield inputs_of(store.slice(start, min(start + AT_ONCE, rows, store.rows)))


def _one(store: "Store", row: int) -> Any:
    from clicksmith.batch.batch import inputs_of

    if not 0 <= row < store.rows:
        raise UsageError(f"--row got {row}; the file has rows 0 to {store.rows - 1}.")
    return inputs_of(store.slice(row, row + 1))
