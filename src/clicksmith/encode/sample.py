"""A few rows of a large file, spread over the whole of it: what a proposed schema is made from.

Plain text is read at evenly spaced places, Parquet and Arrow in evenly spaced slices. Compressed text, and text whose
quoted cells may hold line ends, has no places to start at: it is split from its beginning on.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from clicksmith.encode.delimited import read_chunks, threads
from clicksmith.encode.native import LIBRARY
from clicksmith.encode.sniff import Dialect
from clicksmith.encode.textrows import frame_of_chunk, parsed_frames

PLACES = 32
"""Places of a text file that are looked at."""
SLICES = 8
"""Slices of a binary file: each may cost the decoding of a whole row group."""
WHOLE = 4 << 20
"""Bytes of text that are read whole, so that every row is checked."""
MOST = 2_000_000
"""Rows that are gone through at most where there is no place to start at."""


def spread(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Return about `rows` evenly spaced rows, in order; all of them if there are no more."""
    if frame.height <= rows:
        return frame
    return frame[np.linspace(0, frame.height - 1, rows).astype(np.int64)]


def slices(scan: pl.LazyFrame, height: int, rows: int) -> pl.DataFrame:
    """Return about `rows` rows of a Parquet or Arrow file, in slices of neighbours."""
    if height <= 2 * rows:
        return spread(scan.collect(), rows)
    each = -(-rows // SLICES)
    starts = np.linspace(0, height - each, SLICES).astype(np.int64).tolist()
    return pl.concat([scan.slice(start, each).collect() for start in starts])


def text_rows(path: Path, dialect: Dialect, columns: Sequence[str], rows: int) -> pl.DataFrame:
    """Return about `rows` rows of a delimited text file as text, empty cells as null.

    Raises DataError for what is wrong with the rows that are gone through, as reading them all would.
    """
    if path.suffix not in (".gz", ".zst") and path.stat().st_size > WHOLE:
        found = _placed(path, dialect, columns, rows)
        if found is not None:
            return found
    return _streamed(path, dialect, columns, rows)


def _placed(path: Path, dialect: Dialect, columns: Sequence[str], rows: int) -> pl.DataFrame | None:
    """Read whole lines at evenly spaced places.

    None if the places would overlap, if one may lie in a quoted cell, or if a line is odd.
    """
    pieces: list[bytes] = []
    size = path.stat().st_size
    each = int(max(rows / PLACES, 1) * dialect.line) + (1 << 12)
    if PLACES * each > size - dialect.skip:
        return None
    with path.open("rb") as file:
        for start in np.linspace(dialect.skip, max(dialect.skip, size - each), PLACES).astype(np.int64).tolist():
            file.seek(start)
            piece = file.read(each)
            begin = 0 if start == dialect.skip else piece.find(b"\n") + 1
            end = len(piece) if start + len(piece) == size else piece.rfind(b"\n") + 1
            piece = piece[begin:end]
            if b'"' in piece and any(line.count(b'"') % 2 for line in piece.split(b"\n")):
                return None
            if piece:
                pieces.append(piece if piece.endswith(b"\n") else piece + b"\n")
    try:
        frame = pl.read_csv(
            b"".join(pieces),
            has_header=False,
            separator=dialect.delimiter,
            schema=dict.fromkeys(dialect.columns, pl.String),
            columns=[dialect.columns.index(name) for name in columns],
        )
    except pl.exceptions.PolarsError:
        return None
    frame = frame.select(columns).with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())
    return spread(frame.filter(~pl.all_horizontal(pl.all().is_null())), rows)


def _streamed(path: Path, dialect: Dialect, columns: Sequence[str], rows: int) -> pl.DataFrame:
    hint = path.stat().st_size * (3.5 if path.suffix in (".gz", ".zst") else 1) / dialect.line
    every = max(1, int(min(hint, MOST) / rows))
    frames: list[pl.DataFrame] = []
    done = 0
    if LIBRARY is None:
        for frame in parsed_frames(path, dialect, columns, 1 << 16):
            frames.append(frame.gather_every(every, offset=-done % every))
            done += frame.height
            if done >= MOST:
                break
        return spread(pl.concat(frames), rows)
    with ThreadPoolExecutor(threads()) as pool:
        for group in read_chunks(path, dialect, [], columns, pool):
            for chunk in group:
                picked = np.arange(-done % every, chunk.rows, every)
                done += chunk.rows
                frames.append(frame_of_chunk(chunk.take(picked, 0), columns, 0, len(picked)))
            if done >= MOST:
                break
    return spread(pl.concat(frames), rows) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
