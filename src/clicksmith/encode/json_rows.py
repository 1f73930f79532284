"""Rows from JSON: a file with an object per line, or one with an object or a list of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from clicksmith.encode.frames import frame_of
from clicksmith.encode.sniff import NoRows, check_file, with_rows
from clicksmith.errors import DataError

JSON = (".jsonl", ".ndjson", ".json")


def json_frame(paths: Sequence[Path]) -> pl.DataFrame:
    """Return the rows of JSON files, read whole. Raises DataError for anything but objects of plain values or lists."""
    frames = with_rows(paths, _read)
    names = frames[0].columns
    frames = [frame.select(names) if set(frame.columns) == set(names) else frame for frame in frames]
    try:
        return pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the JSON files do not fit together: {str(error).splitlines()[0]}.") from error


def _read(path: Path) -> pl.DataFrame:
    if path.suffix not in JSON:
        raise DataError(f"'{path}' is no JSON file, but others are. Files read together need the same format.")
    check_file(path)
    if path.suffix != ".json":
        try:
            frame = pl.read_ndjson(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), infer_schema_length=None)
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
        rows = [rows] if isinstance(rows, dict) else rows
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"'{path}' holds neither an object (a row) nor a list of objects. Give rows.")
        frame = frame_of(rows) if rows else pl.DataFrame()
    if frame.height == 0:
        raise NoRows(f"'{path}' has no rows.")
    for name, kind in frame.schema.items():
        if isinstance(kind, (pl.Struct, pl.Object)):
            raise DataError(f"'{path}': column '{name}' holds objects. Give each of their values a column of its own.")
    return frame
