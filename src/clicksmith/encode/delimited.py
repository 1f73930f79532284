"""Reading delimited text with the compiled splitter: blocks of complete rows, several split at a time."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.chunk import Cut, RowsChunk, not_a_number
from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.sniff import Dialect, name_bad_byte, open_text
from clicksmith.encode.texts import Grid, Texts, is_plain, number_of
from clicksmith.encode.where import Where, in_text, ragged, unclosed
from clicksmith.errors import DataError

BLOCK = 2 << 20
"""Bytes of text per block; rows longer than this are refused."""
SKIP, NUMBER, TEXT = 0, 1, 2


def threads() -> int:
    """Return how many threads read and count: the processors this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass
class TextChunk:
    """Rows of a text file, split into cells. Valid until the next group of chunks is read."""

    where: Where
    first: int
    rows: int
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lens: NDArray[np.int32]
    values: NDArray[np.float64]
    place: dict[str, int]
    numeric: frozenset[str]
    plain: bool = False

    def texts(self, column: str) -> Texts:
        """See `Chunk`."""
        c = self.place[column]
        return Texts(self.text, self.starts[c], self.lens[c])

    def numbers(self, column: str) -> NDArray[np.float64]:
        """See `Chunk`."""
        if column not in self.numeric:  # read as text because it is also an id
            return RowsChunk(self._lists([column]), self.rows, self.where, self.first).numbers(column)
        return self.values[self.place[column]]

    def grid(self, column: str, cut: Cut) -> Grid:
        """See `Chunk`."""
        assert LIBRARY is not None
        texts, separator = self.texts(column), np.frombuffer(cut.separator.encode(), np.uint8)
        starts = np.empty(self.rows * cut.length, np.int64)
        lens = np.empty(self.rows * cut.length, np.int32)
        counts = np.empty(self.rows, np.int32)
        LIBRARY.enc_lists(
            at(self.text), at(texts.starts), at(texts.lens), self.rows, 1, at(separator),
            len(separator), cut.length, cut.reversed, cut.history, at(starts), at(lens), at(counts),
        )  # fmt: skip
        return Grid(Texts(self.text, starts, lens), None, counts)

    def vectors(self, columns: Sequence[str], dim: int) -> NDArray[np.float32]:
        """See `Chunk`."""
        return RowsChunk(self._lists(columns), self.rows, self.where, self.first).vectors(columns, dim)

    def take(self, rows: NDArray[np.int64], first: int) -> TextChunk:
        """See `Chunk`."""
        # Not `[:, rows]`: the compiled functions want a column's cells side by side, which indexing may undo.
        starts, lens, values = (array.take(rows, axis=1) for array in (self.starts, self.lens, self.values))
        return replace(self, first=first, rows=len(rows), starts=starts, lens=lens, values=values)

    def _lists(self, columns: Sequence[str]) -> dict[str, list[Any]]:
        return {name: [self.texts(name)[row] for row in range(self.rows)] for name in columns}


class _Splitter:
    """Buffers for one block."""

    def __init__(self, dialect: Dialect, numbers: Sequence[str], texts: Sequence[str], size: int) -> None:
        self.dialect, self.numbers = dialect, list(numbers)
        self.buffer = np.empty(size + 64, np.uint8)
        self.filled = 0
        self.unclosed = False
        names = dialect.columns
        self.kinds = np.array([NUMBER if n in numbers else TEXT if n in texts else SKIP for n in names], np.int32)
        self.place = {n: i for i, n in enumerate(numbers)} | {n: i for i, n in enumerate(texts)}
        self.places = np.array([self.place.get(n, 0) for n in names], np.int32)
        self.limit = size // len(names) + 2  # a row has at least a byte per column; untouched memory costs nothing
        self.values = np.empty((len(numbers), self.limit), np.float64)
        self.starts = np.empty((len(texts), self.limit), np.int64)
        self.lens = np.empty((len(texts), self.limit), np.int32)
        self.odd = np.empty((self.limit * len(numbers), 3), np.int64)
        self.report = np.zeros(3, np.int64)
        self.raw, self.plain = b"", True

    def split(self) -> None:
        """Split the buffer."""
        assert LIBRARY is not None
        d = self.dialect
        foreign = bool(LIBRARY.enc_foreign(at(self.buffer), self.filled))
        block = self.buffer[: self.filled].tobytes()
        self.raw, self.plain = block if foreign else b"", is_plain(block)
        LIBRARY.enc_split(
            at(self.buffer), self.filled, ord(d.delimiter), len(d.columns), at(self.kinds), at(self.places),
            self.limit, at(self.values), at(self.starts), at(self.lens), at(self.odd),
            at(self.report),
        )  # fmt: skip

    def chunk(self, path: Path, first: int) -> TextChunk:
        """Return the split rows; `first` rows came earlier in the file."""
        if self.raw:
            try:
                self.raw.decode("utf-8")
            except UnicodeDecodeError:
                name_bad_byte(path)
                raise
        where = in_text(path, self.dialect)
        rows, odd, found = self.report.tolist()
        if found:
            raise ragged(where, first + rows, found, self.dialect)
        if self.unclosed:
            raise unclosed(where, first + rows)
        chunk = TextChunk(
            where, first, rows, self.buffer, self.starts[:, :rows], self.lens[:, :rows],
            self.values[:, :rows], self.place,
            frozenset(self.numbers), self.plain,
        )  # fmt: skip
        for flat, start, length in self.odd[:odd].tolist():
            text = bytes(self.buffer[start : start + length]).decode()
            c, row = divmod(flat, self.limit)
            number = number_of(text)
            if number is None:
                raise not_a_number(chunk, row, self.numbers[c], text)
            self.values[c, row] = number
        return chunk


def read_chunks(
    path: Path, dialect: Dialect, numbers: Sequence[str], texts: Sequence[str], pool: ThreadPoolExecutor
) -> Iterator[list[TextChunk]]:
    """Yield the rows of a plain, gzip or zstd text file in groups of chunks, in order.

    Raises DataError for a ragged row, bytes that are not UTF-8, text in a numeric column and a damaged archive.
    """
    assert LIBRARY is not None
    splitters = [_Splitter(dialect, numbers, texts, BLOCK) for _ in range(threads())]
    first, rest = 0, b""
    with open_text(path) as file:
        file.read(dialect.skip) if path.suffix == ".zst" else file.seek(dialect.skip)
        ended = False
        while not ended:
            group: list[_Splitter] = []
            for splitter in splitters:
                rest, ended = _fill(splitter, file, rest, path, dialect)
                if splitter.filled or splitter.unclosed:
                    group.append(splitter)
                if ended:
                    break
            list(pool.map(_Splitter.split, group))
            chunks: list[TextChunk] = []
            for splitter in group:
                chunk = splitter.chunk(path, first)
                first += chunk.rows
                chunks.append(chunk)
            if chunks:
                yield chunks


def _fill(splitter: _Splitter, file: IO[bytes], rest: bytes, path: Path, dialect: Dialect) -> tuple[bytes, bool]:
    """Fill a buffer with complete rows; return what is left over, and whether the file has ended."""
    assert LIBRARY is not None
    view = splitter.buffer.data
    n = len(rest)
    view[:n] = rest
    ended = False
    try:
        while n < BLOCK and not ended:
            got = cast("io.BufferedReader", file).readinto(view[n:BLOCK])
            n += got
            ended = not got
    except (gzip.BadGzipFile, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise DataError(f"'{path}' cannot be decompressed: {error}. Check that it is complete.") from error
    if ended:
        if n and splitter.buffer[n - 1] != 10:
            splitter.buffer[n] = 10
            n += 1
        splitter.filled = LIBRARY.enc_whole(at(splitter.buffer), n, ord(dialect.delimiter))
        splitter.unclosed = splitter.filled < n
        return b"", True
    whole = LIBRARY.enc_whole(at(splitter.buffer), n, ord(dialect.delimiter))
    if whole == 0:
        raise DataError(
            f"{path.name}: a row is longer than {BLOCK >> 20} MiB, or a quote is never closed. Check the file's quotes."
        )
    splitter.filled = whole
    return bytes(view[whole:n]), False
