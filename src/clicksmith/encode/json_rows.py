"""Rows from JSON: a file with an object per line, or one with an object or a list of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from clicksmith.encode.frames import frame_of, large, stacked
from clicksmith.encode.sniff import NoRows, check_file, with_rows
from clicksmith.errors import DataError

JSON = (".jsonl", ".ndjson", ".json")
_OWN = {"schema": ("fields", "label"), "Plan": ("parts", "version")}
"""Keys of what Clicksmith writes as one object; the first holds objects."""


def json_frame(paths: Sequence[Path]) -> pl.DataFrame:
    """Return the rows of JSON files, read whole. Raises DataError for anything but objects of plain values or lists."""
    frames = with_rows(paths, _read)
    names = frames[0].columns
    frames = [frame.select(names) if set(frame.columns) == set(names) else frame for frame in frames]
    try:
        return stacked(frames)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the JSON files do not fit together: {str(error).splitlines()[0]}.") from error


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in JSON:
        raise DataError(f"'{path}' is no JSON file, but others are. Files read together need the same format.")
    check_file(path)
    if path.suffix != ".json":
        try:
            frame = _lines(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"'{path}' is not JSON with one object per line: {str(error).splitlines()[0]}. Mend the file."
            ) from error
    else:
        try:
            rows: Any = json.loads(path.read_bytes())
        except ValueError as error:
            raise DataError(
                f"'{path}' is not JSON: {error}. A file with an object per line is to be called .jsonl."
            ) from error
        if isinstance(rows, dict):
            _refuse_own(path, rows)
            rows = [rows]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"'{path}' holds neither an object (a row) nor a list of objects. Give rows.")
        frame = frame_of(rows) if rows else pl.DataFrame()
    if frame.height == 0:
        raise NoRows(f"'{path}' has no rows.")
    return frame


def _lines(content: bytes) -> pl.DataFrame:
    """Return objects, one a line; columns of fractions and whole numbers that floats would round are text."""
    frame = pl.read_ndjson(content, infer_schema_length=None)
    texts: dict[str, pl.DataType] = {}
    for column in frame:
        kind, inner = column.dtype, pl.List(pl.Float64)
        if (kind == pl.Float64 and large(column)) or (kind == inner and large(column.explode())):
            texts[column.name] = pl.List(pl.String()) if kind == inner else pl.String()
    return pl.read_ndjson(content, infer_schema_length=None, schema_overrides=texts) if texts else frame


def _refuse_own(path: Path, row: dict[str, Any]) -> None:
    """Raise DataError for a schema or a Plan, of which the object might be a row."""
    for what, (several, other) in _OWN.items():
        held = row.get(several)
        if other in row and isinstance(held, list) and held and all(isinstance(part, dict) for part in held):
            option = f"--{what.lower()}"
            raise DataError(f"'{path}' is a {what} and holds no rows. Give rows, and the {what} with {option}.")
