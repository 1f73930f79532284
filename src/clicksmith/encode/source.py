"""Where rows come from: text files, Parquet, Arrow, frames; one or many; read in pieces, larger than memory."""

from __future__ import annotations

import glob
import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from clicksmith.encode.chunk import Chunk, FrameChunk
from clicksmith.encode.delimited import read_chunks, threads
from clicksmith.encode.frames import frame_of, stacked
from clicksmith.encode.json_rows import JSON, json_frame
from clicksmith.encode.native import LIBRARY
from clicksmith.encode.sample import slices, spread, text_rows
from clicksmith.encode.sniff import Dialect, Known, NoRows, check_file, sniff, with_rows
from clicksmith.encode.textrows import parsed_frames, split_frames
from clicksmith.encode.where import Where, in_text
from clicksmith.errors import DataError
from clicksmith.identity import digest, file_digest

ROWS = 65_536
"""Rows per piece where the format does not decide it."""
SAMPLE = 60_000
"""Rows that `Source.sample` takes."""
_PARQUET = (".parquet", ".pq")
_ARROW = (".arrow", ".feather", ".ipc")


class Source:
    """A table in files or in memory.

    name: what errors call it; columns: the names of its columns
    """

    def __init__(self, name: str, columns: Sequence[str], files: Sequence[_File], frame: pl.DataFrame | None) -> None:
        self.name, self.columns = name, list(columns)
        self._files, self._frame = list(files), frame

    @property
    def rows_hint(self) -> int:
        """About how many rows there are (exactly, except for text)."""
        return self._frame.height if self._frame is not None else sum(file.rows_hint for file in self._files)

    @property
    def bare(self) -> tuple[str, ...]:
        """The names of the columns, where they are not in the files: text without a header."""
        return next((f.columns for f in self._files if f.dialect is not None and not f.dialect.header), ())

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content (the bytes of the files, the values of a frame), never of a date."""
        if self._frame is not None:
            return _frame_digest(self._frame)
        parts = [[file.path.suffix, list(file.columns), file_digest(file.path)] for file in self._files]
        return digest(["files", parts])

    def batches(self, columns: Sequence[str] | None = None, size: int = ROWS) -> Iterator[pl.DataFrame]:
        """Yield frames of up to `size` rows, in order. Cells of text files are String; empty ones are null."""
        wanted = self.columns if columns is None else list(columns)
        self._check_kinds(wanted)
        if self._frame is not None:
            for start in range(0, max(1, self._frame.height), size):
                yield self._frame.select(wanted).slice(start, size)
            return
        for file in self._files:
            yield from file.batches(wanted, size)

    def sample(self, columns: Sequence[str] | None = None, rows: int = SAMPLE) -> pl.DataFrame:
        """Return about `rows` rows spread over all of the input, in order; all rows of a small one.

        Much cheaper than reading everything: see `sample.py` for what it means for each format.
        """
        wanted = self.columns if columns is None else list(columns)
        self._check_kinds(wanted)
        if self._frame is not None:
            return spread(self._frame.select(wanted), rows)
        whole = max(1, self.rows_hint)
        parts = [file.sample(wanted, max(1, -(-rows * file.rows_hint // whole))) for file in self._files]
        return stacked(parts)

    def chunks(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[list[Chunk]]:
        """Yield groups of chunks, in order; a group's chunks hold until the next group is asked for.

        `numbers` are the columns read with `Chunk.numbers`, `texts` all others that are read.
        """
        wanted = [*numbers, *texts]
        if self._frame is not None:
            first = 0
            for frame in self.batches(wanted):
                yield [FrameChunk(frame, Where(self.name), first)]
                first += frame.height
            return
        with ThreadPoolExecutor(threads()) as pool:
            for file in self._files:
                yield from file.chunks(numbers, texts, pool)

    def _check_kinds(self, wanted: Sequence[str]) -> None:
        """Raise DataError unless the files' cells of each of these columns can stand in one column."""
        for name in wanted:
            unlike: dict[pl.DataType, _File] = {}
            for file in self._files:
                kind = file.kinds[name]
                for known, other in unlike.items():
                    if not _go_together(kind, known):
                        raise DataError(
                            f"column '{name}' is {kind} in '{file.path}' and {known} in '{other.path}'. Files read "
                            "together need columns of one kind; write it alike in all of them."
                        )
                unlike.setdefault(kind, file)


class _File:
    """One file; `kinds` are the types of its columns, all of them texts in a text file."""

    def __init__(self, path: Path, columns: Sequence[str] | None, delimiter: str | None, known: Known | None) -> None:
        self.path = path
        self.dialect: Dialect | None = None
        check_file(path)
        try:
            if path.suffix in (*_PARQUET, *_ARROW):
                self.kinds = self._scan().collect_schema()
                self.rows_hint = int(self._scan().select(pl.len()).collect().item())
            else:
                self.dialect = sniff(path, columns, delimiter, known)
                self.kinds = pl.Schema(dict.fromkeys(self.dialect.columns, pl.String))
                packed = path.suffix in (".gz", ".zst")
                self.rows_hint = int(path.stat().st_size * (3.5 if packed else 1) / self.dialect.line) + 1
        except (pl.exceptions.PolarsError, OSError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"'{path}' is not a {path.suffix} file: {str(error).splitlines()[0]}.") from error
        self.columns = tuple(self.kinds)
        if self.dialect is None and self.rows_hint == 0:
            raise NoRows(f"'{path}' has columns but no rows.")

    def batches(self, columns: list[str], size: int) -> Iterator[pl.DataFrame]:
        if self.dialect is not None:
            frames = parsed_frames if LIBRARY is None else split_frames
            yield from frames(self.path, self.dialect, columns, size)
            return
        first = 0
        try:
            for frame in self._scan().select(columns).collect_batches(chunk_size=size, maintain_order=True, lazy=True):
                for start in range(0, frame.height, size):
                    yield frame.slice(start, size)
                first += frame.height
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path.name} (about row {first}): {str(error).splitlines()[0]}.") from error

    def sample(self, columns: list[str], rows: int) -> pl.DataFrame:
        if self.dialect is not None:
            return text_rows(self.path, self.dialect, columns, rows)
        try:
            return slices(self._scan().select(columns), self.rows_hint, rows)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.path.name}: {str(error).splitlines()[0]}.") from error

    def _scan(self) -> pl.LazyFrame:
        scan = pl.scan_parquet if self.path.suffix in _PARQUET else pl.scan_ipc
        return scan(self.path, glob=False)

    def chunks(self, numbers: Sequence[str], texts: Sequence[str], pool: ThreadPoolExecutor) -> Iterator[list[Chunk]]:
        if self.dialect is not None and LIBRARY is not None:
            yield from read_chunks(self.path, self.dialect, numbers, texts, pool)  # type: ignore[misc]
            return
        where = Where(self.path.name) if self.dialect is None else in_text(self.path, self.dialect)
        first = 0
        for frame in self.batches([*numbers, *texts], ROWS):
            yield [FrameChunk(frame, where, first)]
            first += frame.height


def open_source(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    known: Known | None = None,
) -> Source:
    """Open a path, a pattern, a list of them, a folder's files by pattern, or a polars, pandas or Arrow table.

    JSON files are read into memory whole, all others in pieces.

    `columns` are the names for text files without a header (else they are taken from what is `known`); the delimiter
    is found out unless given.

    Raises:
        StorageError: there is no such file, or it is a folder.
        DataError: the file is empty, has no rows, is not what its name says, or has duplicate columns.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, Path)) or (isinstance(data, (list, tuple)) and data and _all_paths(data)):
        paths = [path for item in ([data] if isinstance(data, (str, Path)) else data) for path in _found(item)]
        if any(path.suffix in JSON for path in paths):
            frame = json_frame(paths)
            return Source(str(data) if len(paths) > 1 else paths[0].name, frame.columns, [], frame)
        files = with_rows(paths, lambda path: _File(path, columns, delimiter, known))
        for file in files[1:]:
            _check_alike(file, files[0])
        return Source(str(data) if len(files) > 1 else files[0].path.name, files[0].columns, files, None)
    frame = frame_of(data)
    if frame.height == 0:
        raise DataError("the frame has no rows.")
    return Source("the frame", frame.columns, [], frame)


def _check_alike(one: _File, other: _File) -> None:
    """Raise DataError unless both files have the same columns."""
    if set(one.columns) != set(other.columns):
        odd = sorted(set(one.columns) ^ set(other.columns))
        raise DataError(
            f"'{one.path}' and '{other.path}' have different columns: {', '.join(odd[:5])} "
            "is in one of them only. Files read together need the same columns."
        )


def _go_together(one: pl.DataType, other: pl.DataType) -> bool:
    """Return whether cells of both kinds can stand in one column: numbers, texts and dates can, lists among lists."""
    if one == other or pl.Null in (one, other):
        return True
    if (one.is_nested(), one == pl.Duration) != (other.is_nested(), other == pl.Duration):
        return False
    try:
        pl.concat([pl.DataFrame(schema={"": kind}) for kind in (one, other)], how="vertical_relaxed")
    except pl.exceptions.PolarsError:
        return False
    return True


def _all_paths(items: Sequence[Any]) -> bool:
    return all(isinstance(item, (str, Path)) for item in items)


def _found(item: str | Path) -> list[Path]:
    text = str(item)
    if text == "-":
        raise DataError("standard input is not read. Write the rows to a file and name that, for example rows.csv.")
    if not glob.has_magic(text) or Path(text).exists():
        return [Path(text)]
    found = sorted(Path(path) for path in glob.glob(text))  # noqa: PTH207 - absolute patterns too
    if not found:
        raise DataError(f"no file matches '{text}'. Check the pattern; relative ones start at '{Path.cwd()}'.")
    return found


def _frame_digest(frame: pl.DataFrame) -> str:
    state = hashlib.sha256(repr([(name, str(kind)) for name, kind in frame.schema.items()]).encode())
    for start in range(0, frame.height, ROWS):
        piece = io.BytesIO()
        frame.slice(start, ROWS).rechunk().write_ipc(piece, compat_level=pl.CompatLevel.oldest())
        state.update(piece.getbuffer())
    return state.hexdigest()
