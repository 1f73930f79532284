"""Looking at the beginning of a delimited text file: delimiter, header, and what is plainly wrong with it."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import polars as pl

from clicksmith.encode.texts import NUMBER
from clicksmith.errors import DataError, StorageError

Read = TypeVar("Read")
_DELIMITERS = "\t,;|"
_HEAD = 1 << 18
csv.field_size_limit(max(csv.field_size_limit(), _HEAD))  # a line of the head is no error, however long


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    delimiter: str
    columns: tuple[str, ...]
    header: bool
    skip: int
    """Bytes before the first row: a byte-order mark and the header line."""
    line: float
    """Mean bytes per line at the beginning."""


class NoRows(DataError):
    """A file says its columns and has no rows: no error beside files that have some."""


def with_rows(paths: Sequence[Path], read: Callable[[Path], Read]) -> list[Read]:
    """Read files; those without rows are left out, unless all are."""
    found, empty = list[Read](), list[NoRows]()
    for path in paths:
        try:
            found.append(read(path))
        except NoRows as error:
            empty.append(error)
    if not found:
        raise empty[0]
    return found


@dataclass(frozen=True)
class Known:
    """What is known of a file that may have no header: the names of the columns that others like it have, in order."""

    columns: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """Those that rows to score may lack."""

    def names(self, path: Path, first: Sequence[str]) -> list[str] | None:
        """Return the names of a file's columns by its first row; None if that is a header."""
        if 2 * len(set(first) & set(self.columns)) >= min(len(first), len(self.columns)):
            return None
        unlabelled = [name for name in self.columns if name not in self.labels]
        for names in (list(self.columns), unlabelled):
            if len(names) == len(first):
                return names
        raise DataError(
            f"{path.name} has no header and {len(first)} cells in its first row; the rows that the model was trained "
            f"on had {len(self.columns)} ({', '.join(self.columns[:3])}, ...), without the label "
            f"{len(unlabelled)}. Give the file's own column names, or a header."
        )


def open_text(path: Path) -> IO[bytes]:
    """Open a plain, gzip or zstd text file for reading bytes."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return cast("IO[bytes]", io.BufferedReader(_Lines(path)))
    return path.open("rb", buffering=0)


class _Lines(io.RawIOBase):
    """A zstd text file as bytes: polars unpacks it, line by line (Python 3.11 has no zstd)."""

    def __init__(self, path: Path) -> None:
        lines = pl.scan_csv(
            path,
            has_header=False,
            separator="\x01",
            quote_char=None,
            infer_schema=False,
            new_columns=["line"],
            glob=False,
        )
        self._path = path
        self._batches = lines.collect_batches(chunk_size=65_536, maintain_order=True, lazy=True)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            frame = self._next()
            if frame is None:
                return 0
            text = frame.get_column("line").fill_null("").str.join("\n").item()
            self._left = memoryview(f"{text}\n".encode()) if frame.height else memoryview(b"")
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def _next(self) -> pl.DataFrame | None:
        try:
            return next(iter(self._batches), None)
        except pl.exceptions.PolarsError as error:
            if "more fields" not in str(error) and "new_columns" not in str(error):
                raise
            raise DataError(
                f"{self._path.name}: its text holds the byte 0x01, which no .zst file may. Take it out, or compress "
                "the file as .gz."
            ) from error


def check_file(path: Path) -> None:
    """Raise if `path` is not a file with something in it."""
    if path.is_dir():
        raise StorageError(f"'{path}' is a folder, not a file. Name the file in it, or several as '{path}/*.csv'.")
    if not path.exists():
        raise StorageError(f"there is no file '{path}'. Check the path; relative paths start at '{Path.cwd()}'.")
    if path.suffix == ".toml":
        raise DataError(
            f"'{path}' is TOML and holds no rows. Name a file of rows; a schema is given with --schema, and the "
            "declaration of a data set to the commands fit, search, tune, rank and bench run; Python reads it with "
            "Dataset.from_toml."
        )
    if not path.is_file():
        raise DataError(f"'{path}' is a pipe or a device, which cannot be read twice. Write the rows to a file first.")
    if path.stat().st_size == 0:
        raise DataError(f"'{path}' is empty: it has neither header nor rows.")


def head(path: Path) -> bytes:
    """Return the beginning of a text file, decompressed."""
    try:
        with open_text(path) as file:
            return file.read(_HEAD)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"'{path}' is empty: it has neither header nor rows.") from error
    except (pl.exceptions.PolarsError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"'{path}' cannot be decompressed: {str(error).splitlines()[0]}. Check that it is complete."
        ) from error


def sniff(
    path: Path, columns: Sequence[str] | None = None, delimiter: str | None = None, known: Known | None = None
) -> Dialect:
    """Find out how a text file is written; `columns` are the names for a file without header, else what is known."""
    check_file(path)
    start = head(path)
    _check_text(path, start)
    mark = 3 if start.startswith(b"\xef\xbb\xbf") else 0
    cut = start[mark:] if len(start) < _HEAD else start[mark : start.rfind(b"\n") + 1]
    text = decoded(cut, path, 0)
    lines = [line for line in text.splitlines() if line][:100]
    if not lines and start.strip():
        raise DataError(f"{path.name}: the first line is longer than {_HEAD:,} bytes. Check how its lines end.")
    if not lines:
        raise DataError(f"'{path}' is empty: it has neither header nor rows.")
    delimiter = delimiter or _delimiter(lines)
    rows, read = list[list[str]](), csv.reader(io.StringIO(text), delimiter=delimiter)
    header_lines = 0
    try:
        for row in read:
            header_lines = header_lines or (read.line_num if row else 0)
            rows.append(row)
    except csv.Error as error:
        raise _unreadable(path, text, error) from error
    first = next(row for row in rows if row)
    mean = len(cut) / max(1, cut.count(b"\n"))
    if columns is None and known is not None:
        columns = known.names(path, first)
    if columns is not None and list(first) != list(columns):
        if len(columns) != len(first):
            raise DataError(
                f"{path.name}: {len(columns)} column names were given, but the first row has {len(first)} cells "
                f"(delimiter {delimiter!r}). Give one name per cell, or name the right delimiter."
            )
        return Dialect(delimiter, tuple(columns), False, mark, mean)
    _check_header(path, first, delimiter, named=columns is not None)
    begun = bool(start[mark + len(cut) :].strip())  # a row longer than the head
    if sum(1 for row in rows if row) + begun < 2:
        raise NoRows(f"'{path}' has a header but no rows.")
    names = tuple(name or f"column_{i + 1}" for i, name in enumerate(first))
    for i, name in enumerate(names):
        if names.count(name) > 1 and not first[i]:
            raise DataError(
                f"{path.name}: cell {i + 1} of the header is empty, so its column would be called '{name}', as another "
                "is. Give each column its own name."
            )
    end = 0
    for _ in range(header_lines):
        end = cut.index(b"\n", end) + 1
    return Dialect(delimiter, names, True, mark + end, mean)


def _check_text(path: Path, start: bytes) -> None:
    """Raise DataError for a file that is UTF-16 or no text at all."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path.name} is UTF-16 text, not UTF-8. Convert it, for example with "
            f"'iconv -f utf-16 -t utf8 {path.name}'."
        )
    if b"\0" in start:
        raise DataError(
            f"{path.name} is not text: it holds zero bytes. Give CSV or TSV text, Parquet, Arrow or JSON lines, with "
            "the ending that says so (.csv, .tsv, .parquet, .arrow, .jsonl)."
        )


def _unreadable(path: Path, text: str, error: csv.Error) -> DataError:
    if "\n" not in text and "\r" in text:
        return DataError(
            f"{path.name}: its lines end with a carriage return alone. Make them line feeds, for example with "
            f'\'tr "\\r" "\\n" < {path.name} > clean.csv\'.'
        )
    for number, line in enumerate(text.split("\n"), 1):
        if "\r" in line.removesuffix("\r"):
            return DataError(
                f"{path.name} line {number}: a carriage return inside the line. Take them out, for example with "
                f"'tr -d \"\\r\" < {path.name} > clean.csv'."
            )
    return DataError(f"{path.name}: {error}. Check the file's quotes.")


def decoded(raw: bytes, path: Path, before: int) -> str:
    """Return bytes as UTF-8 text, or raise DataError naming the line; `before` lines came earlier."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = before + raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path.name} line {line}: byte 0x{raw[error.start]:02x} is not UTF-8 text. Convert the file, for example "
            f"with 'iconv -f latin1 -t utf8 {path.name}'."
        ) from None


def name_bad_byte(path: Path) -> None:
    """Raise DataError naming the first line of a file that is not UTF-8."""
    with open_text(path) as file:
        for number, line in enumerate(io.BufferedReader(file)):  # type: ignore[arg-type]
            decoded(line, path, number)


def _delimiter(lines: list[str]) -> str:
    best, share = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        if counts[0] > 1:
            agree = sum(count == counts[0] for count in counts) / len(counts)
            if agree > share:
                best, share = delimiter, agree
    return best


def _check_header(path: Path, names: list[str], delimiter: str, *, named: bool) -> None:
    numbers = [name for name in names if NUMBER.fullmatch(name.strip())]
    if numbers and not named and names != [str(i) for i in range(len(names))]:
        raise DataError(
            f"{path.name}: the first line holds {numbers[0]!r}, a number, where a column name is expected. "
            "If the file has no header, give the names of its columns."
        )
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{path.name}: column '{name}' appears {names.count(name)} times in the header (delimiter "
                f"{delimiter!r}). Give each column its own name."
            )
