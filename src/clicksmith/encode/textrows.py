"""Rows of delimited text as frames of text: one meaning of "row", with and without the compiled splitter.

Lines without anything in them are no rows (in a file of one column they are empty cells); a row with too few or too
many cells is refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

import polars as pl

from clicksmith.encode.delimited import BLOCK, TextChunk, read_chunks, threads
from clicksmith.encode.sniff import Dialect, name_bad_byte, open_text
from clicksmith.encode.where import in_text, ragged, unclosed
from clicksmith.errors import DataError


def split_frames(path: Path, dialect: Dialect, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
    """Yield frames of up to `size` rows with the compiled splitter; empty cells are null."""
    with ThreadPoolExecutor(threads()) as pool:
        for group in read_chunks(path, dialect, [], columns, pool):
            for chunk in group:
                for start in range(0, chunk.rows, size):
                    yield frame_of_chunk(chunk, columns, start, min(start + size, chunk.rows))


def parsed_frames(path: Path, dialect: Dialect, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
    """Yield the same frames with Python's csv module."""
    csv.field_size_limit(max(BLOCK, csv.field_size_limit()))
    pick = [dialect.columns.index(name) for name in columns]
    held: list[list[str]] = []
    first, where = 0, in_text(path, dialect)
    try:
        for row, last in _rows(path, dialect):
            if last and _open_quote(last, dialect):
                raise unclosed(where, first + len(held))
            if len(row) != len(dialect.columns):
                raise ragged(where, first + len(held), len(row), dialect)
            held.append(row)
            if len(held) == size:
                yield _table(held, columns, pick)
                first, held = first + size, []
    except UnicodeDecodeError:
        name_bad_byte(path)
        raise
    except csv.Error as error:
        raise DataError(f"{where.row(first + len(held))}: {error}. Check the file's quotes.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise DataError(f"'{path}' cannot be decompressed: {error}. Check that it is complete.") from error
    if held:
        yield _table(held, columns, pick)


def _rows(path: Path, dialect: Dialect) -> Iterator[tuple[list[str], list[str]]]:
    """Yield rows, the last of the file with the lines it was read from."""
    lines: list[str] = []

    def noted(text: io.TextIOWrapper) -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    row: list[str] | None = None
    source: list[str] = []
    with open_text(path) as file:
        file.read(dialect.skip)
        text = io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8", newline="\n")  # type: ignore[arg-type]
        for cells in csv.reader(noted(text), delimiter=dialect.delimiter):
            if cells or len(dialect.columns) == 1:
                if row is not None:
                    yield row, []
                row, source = cells or [""], lines[:]
            lines.clear()
    if row is not None:
        yield row, source


def _open_quote(lines: list[str], dialect: Dialect) -> bool:
    try:
        list(csv.reader(lines, delimiter=dialect.delimiter, strict=True))
    except csv.Error as error:
        return "end of data" in str(error)
    return False


def _table(rows: list[list[str]], columns: Sequence[str], pick: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: [cell or None for cell in map(itemgetter(c), rows)] for name, c in zip(columns, pick, strict=True)},
        schema=dict.fromkeys(columns, pl.String),
    )


def frame_of_chunk(chunk: TextChunk, columns: Sequence[str], start: int, stop: int) -> pl.DataFrame:
    """Return rows of a chunk as a frame of text; empty cells are null."""
    whole = chunk.text.tobytes()
    text = whole.decode() if whole.isascii() else None
    found: dict[str, list[str | None]] = {}
    for name in columns:
        cells = chunk.texts(name)
        begins = cells.starts[start:stop]
        spans = zip(begins.tolist(), (begins + cells.lens[start:stop]).tolist(), strict=True)
        if text is not None:
            found[name] = [text[a:b] or None for a, b in spans]
        else:
            found[name] = [whole[a:b].decode() or None for a, b in spans]
    return pl.DataFrame(found, schema=dict.fromkeys(columns, pl.String))
