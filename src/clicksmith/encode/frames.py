"""Tables of other libraries as polars frames or as lists of a few rows, without importing those libraries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

import polars as pl

from clicksmith.encode.texts import text_of, text_series
from clicksmith.errors import DataError

_EXACT = 1 << 53
"""Whole numbers up to here are floats, too."""


def frame_of(data: Any) -> pl.DataFrame:
    """Return a polars, pandas or Arrow table, or a list of dicts, as a polars frame. Integers stay integers."""
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    if _is_pandas(data):
        _unique([str(name) for name in data.columns])
        return pl.DataFrame([_series(str(name), data[name]) for name in data.columns])
    if isinstance(data, (Mapping, list)):
        columns, _ = columns_of(data)
        return pl.DataFrame([_listed(name, values) for name, values in (columns or {}).items()])
    if hasattr(data, "__arrow_c_stream__"):
        _unique(list(getattr(data, "column_names", [])))
        return pl.DataFrame(data)
    raise DataError(
        f"a {type(data).__name__} is not a table. Give a path, a polars, pandas or Arrow table, or a list of dicts."
    )


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return frames of the same columns one below another, each column as the kind that holds all of its cells.

    Whole numbers beyond 2^53 beside fractions become text, as in one file: floats would round them.
    """
    columns = {name: [frame.get_column(name) for frame in frames] for name in frames[0].columns}
    mixed = [
        name
        for name, parts in columns.items()
        if any(part.dtype.is_float() for part in parts)
        and any(part.dtype.is_integer() and large(part) for part in parts)
    ]
    texts = ((text_series(frame.get_column(name)).replace("", None) for name in mixed) for frame in frames)
    return pl.concat([f.with_columns(t) for f, t in zip(frames, texts, strict=True)], how="vertical_relaxed")


def large(numbers: pl.Series) -> bool:
    """Return whether floats cannot tell some of the numbers from their neighbours."""
    return bool((numbers.cast(pl.Float64).abs() >= _EXACT).any())


def names_of(data: Any) -> list[str]:
    """Return the column names of a polars or pandas table or a dict; those of the first row of a list of dicts."""
    if isinstance(data, list):
        return [str(name) for name in data[0]] if data else []
    return [str(name) for name in getattr(data, "columns", data)]


def columns_of(
    data: Any, most: int | None = None, wanted: Collection[str] | None = None
) -> tuple[dict[str, list[Any]], int] | tuple[None, int]:
    """Return a table as Python lists by column, and its rows; None for the lists if it has more than `most` rows.

    Of a frame only the columns `wanted` are read.
    """
    if isinstance(data, Mapping):
        return {str(name): [value] for name, value in data.items()}, 1
    if isinstance(data, list):
        if not all(type(row) is dict or isinstance(row, Mapping) for row in data):
            raise DataError("a list of rows must hold dicts, one per row, column name -> value.")
        if most is not None and len(data) > most:
            return None, len(data)
        return _columns_of_rows(data, None if wanted is None else set(wanted)), len(data)
    rows = data.height if isinstance(data, pl.DataFrame) else len(data) if _is_pandas(data) else -1
    if rows < 0 or (most is not None and rows > most):
        return None, rows
    if isinstance(data, pl.DataFrame):
        names = data.columns
        chosen = names if wanted is None else [name for name in wanted if name in names]
        return {name: data.get_column(name).to_list() for name in chosen}, rows
    _unique([str(name) for name in data.columns])
    return {str(n): column.tolist() for n, column in data.items() if wanted is None or str(n) in wanted}, rows


def _columns_of_rows(rows: list[Any], wanted: set[str] | None) -> dict[str, list[Any]]:
    names = list(rows[0]) if rows else []
    chosen = names if wanted is None else [name for name in names if name in wanted]
    if set(map(type, rows)) == {dict} and list(map(list, rows)).count(names) == len(rows):  # one order: no look-ups
        whole = zip(names, zip(*map(dict.values, rows), strict=True), strict=True)
        return {str(name): list(column) for name, column in whole if wanted is None or name in wanted}
    _check_alike(rows)
    columns = (
        zip(*map(itemgetter(*chosen), rows), strict=True) if len(chosen) > 1 else [[r[c] for r in rows] for c in chosen]
    )
    return {str(name): list(column) for name, column in zip(chosen, columns, strict=True)}


def _check_alike(rows: list[Any]) -> None:
    """Raise DataError if not every row has the same columns."""
    if not rows or all(row.keys() == rows[0].keys() for row in rows):
        return
    names = dict.fromkeys(name for row in rows for name in row)
    i, absent = next((i, name) for i, row in enumerate(rows) for name in names if name not in row)
    raise DataError(
        f"row {i + 1} of the list has no '{absent}', which other rows have. "
        "Give every row the same columns; use None where a value is missing."
    )


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.split(".")[0] == "pandas" and hasattr(data, "columns")


def _unique(names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"the frame has {names.count(name)} columns named '{name}'. Give each column its own name.")


def _series(name: str, column: Any) -> pl.Series:
    if column.dtype.kind in "iufb" and type(column.dtype).__module__.startswith("numpy"):
        return pl.Series(name, column.to_numpy())
    return _listed(name, column.tolist())


def _listed(name: str, values: list[Any]) -> pl.Series:
    cleaned: list[Any] = [None if isinstance(v, float) and v != v else v for v in values]
    cleaned = [v.tolist() if type(v).__module__ == "numpy" and hasattr(v, "tolist") else v for v in cleaned]
    cleaned = [list(v) if isinstance(v, tuple) else v for v in cleaned]
    kinds = {type(v) for v in cleaned if v is not None}
    if len(kinds) <= 1 and kinds <= {str, bool, list}:
        return pl.Series(name, cleaned, strict=False, dtype=pl.String if kinds == {str} else None)
    if kinds == {int} and all(v is None or -(1 << 63) <= v < 1 << 63 for v in cleaned):
        return pl.Series(name, cleaned, dtype=pl.Int64)
    if kinds == {float}:
        return pl.Series(name, cleaned, dtype=pl.Float64)
    if kinds == {dict}:  # nothing reads a record
        parts = {str(key): pl.String for value in cleaned if value for key in value}
        records = [value and {str(key): str(part) for key, part in value.items()} for value in cleaned]
        return pl.Series(name, records, dtype=pl.Struct(parts))
    if list in kinds:
        raise DataError(f"column '{name}' mixes lists and single values. Use one kind in the whole column.")
    if kinds == {bytes}:
        return pl.Series(name, cleaned, dtype=pl.Binary)  # whoever reads it as text says which row is none
    return pl.Series(name, [None if v is None else text_of(v) for v in cleaned], dtype=pl.String)
