"""`clicksmith predict RUN_DIR FILE`: raw rows to probabilities."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from tyro.conf import Positional

from clicksmith.cli.parse import Columns, Delimiter, call, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

ABOUT = """Score raw rows with a trained model. No label is needed; row order is kept; unseen values score.

examples:
  clicksmith predict run new.csv --out scores.csv
  clicksmith predict run 'logs/*.parquet' --out scores.parquet --keep all
  clicksmith predict run new.csv | head                  CSV on stdout"""

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(predict, argv, verb="predict", about=ABOUT)


def predict(
    run_dir: Annotated[str, Positional, option("RUN_DIR", "what `clicksmith fit` wrote", default="required")],
    file: Annotated[str, Positional, option("FILE", "raw rows: CSV, TSV or Parquet, or a glob", default="required")],
    /,
    *,
    out: Annotated[str | None, option("PREDICTIONS", ".csv, .tsv, .parquet or .jsonl", default="stdout")] = None,
    keep: Annotated[
        str | None, option("COLUMNS", "columns to repeat: names with commas, all, or none", default="ids, group, time")
    ] = None,
    columns: Columns = None,
    delimiter: Delimiter = None,
    models: Annotated[tuple[str, ...], option("FILES", "your own model files, if the model is one")] = (),
) -> int:
    """Score and write."""
    target = None if out is None else Path(out)
    if target is not None and target.suffix not in ENDINGS:
        raise UsageError(f"--out got '{out}', whose ending says no format; use one of {', '.join(ENDINGS)}.")
    if target is not None and target.is_dir():
        raise UsageError(f"--out got '{out}', which is a folder; give a file name.")

    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.rows import opened
    from clicksmith.cli.show import note
    from clicksmith.encode.unseen import unseen_in
    from clicksmith.files import check_folder
    from clicksmith.serve.predictor import load

    if target is not None:
        check_folder(target.parent)
    load_models(models)
    predictor = load(run_dir)
    source = opened([file], columns, delimiter, predictor)
    artifact = predictor.artifact
    for line in unseen_in(artifact.encoder, source, artifact.plan.mapped):
        note(f"warning: {line}")
    rows = write(predictor.predict_frames(source, keep=_kept(keep, source.columns)), target)
    if target is not None:
        note(f"{rows:,} rows scored: {target}")
    return 0


def write(frames: Iterator["pl.DataFrame"], target: Path | None) -> int:
    """Write the pieces one after another, to stdout as CSV if there is no target; return the number of rows."""
    import sys

    from clicksmith.encode.frames import stacked
    from clicksmith.files import atomic_file

    rows = 0
    if target is None:
        for i, frame in enumerate(frames):
            sys.stdout.write(_flat(frame).write_csv(include_header=i == 0))
            rows += frame.height
        return rows
    if target.suffix == ".parquet":
        with atomic_file(target) as beside:
            whole = stacked(list(frames))
            whole.write_parquet(beside)
        return whole.height
    from clicksmith.encode.texts import shown

    with atomic_file(target) as beside, beside.open("wb") as file:
        for i, frame in enumerate(frames):
            if target.suffix == ".jsonl":
                frame.with_columns(map(shown, frame.get_columns())).write_ndjson(file)
            else:
                _flat(frame).write_csv(file, include_header=i == 0, separator="\t" if target.suffix == ".tsv" else ",")
            rows += frame.height
    return rows


def _flat(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Return a frame whose lists and structs, for which text files have no cell, are JSON; bytes and spans are text."""
    import polars as pl

    from clicksmith.encode.texts import shown

    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    cells = {
        name: [
            None if value is None else msgspec.json.encode(value, enc_hook=str).decode()
            for value in frame[name].to_list()
        ]
        for name in nested
    }
    frame = frame.with_columns(pl.Series(name, values, pl.String) for name, values in cells.items())
    return frame.with_columns(map(shown, frame.get_columns()))


def _kept(keep: str | None, columns: Sequence[str]) -> list[str] | None:
    if keep is None:
        return None
    if keep in ("all", "none"):
        return list(columns) if keep == "all" else []
    names = [name.strip() for name in keep.split(",") if name.strip()]
    for name in names:
        if name not in columns:
            from clicksmith.names import unknown

            raise UsageError(f"--keep: {unknown(name, columns, 'column')}")
    return names
