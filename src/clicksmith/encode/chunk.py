"""A piece of a table, and how its columns are read: as texts, numbers, lists or vectors.

Three kinds give the same answers: `FrameChunk` reads a polars frame, `RowsChunk` a few rows as Python lists (serving),
`TextChunk` (delimited.py) raw text.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.texts import NO_NUMBER, Cells, Grid, NotUtf8, number_of, text_of, text_series
from clicksmith.encode.where import Where
from clicksmith.errors import DataError
from clicksmith.schema.profile import is_date

_SEVERAL = {list, tuple, dict, set, np.ndarray}
_QUICK = {int, float, type(None)}
_HUGE = 2.0**1000
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class Cut(Protocol):
    """How a cell of several values is cut: at `separator`, to `length`; a history keeps its newest, a bag its first."""

    @property
    def separator(self) -> str: ...  # noqa: D102
    @property
    def length(self) -> int: ...  # noqa: D102
    @property
    def history(self) -> bool: ...  # noqa: D102
    @property
    def reversed(self) -> bool: ...  # noqa: D102


class Chunk(Protocol):
    """Some rows of a table. `where` says in errors what it is of; `first` is the number of its first row in there."""

    where: Where
    first: int

    @property
    def plain(self) -> bool:
        """Whether no text of it needs `canonical`, as far as a quick look can tell."""
        ...

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    def texts(self, column: str) -> Cells:
        """Return a column as texts, missing values as empty texts."""
        ...

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as contiguous numbers, NaN where missing; text in it is a DataError."""
        ...

    def grid(self, column: str, cut: Cut) -> Grid:
        """Return a column of lists or delimited text as texts in rows of `cut.length` places."""
        ...

    def vectors(self, columns: Sequence[str], dim: int) -> NDArray[np.float32]:
        """Return vectors [rows, dim] of one array (or text) column or of several numeric ones; zeros where missing."""
        ...

    def take(self, rows: NDArray[np.int64], first: int) -> Chunk:
        """Return the rows with these numbers in the chunk, as a chunk whose first row has the number `first`."""
        ...


def not_a_number(chunk: Chunk, row: int, column: str, value: Any) -> DataError:
    """Return the error for a cell that should hold a number."""
    told = f"{chunk.where.row(chunk.first + row)}: column '{column}' holds {value!r}, which is not a finite number. "
    if is_date(str(value)):
        return DataError(f'{told}It is a date: declare Time("{column}", unit="text"), or leave the column out.')
    return DataError(
        f'{told}Clean the file, leave the cell empty if the number is missing, or declare Categorical("{column}").'
    )


def _several(chunk: Chunk, row: int, column: str, value: Any) -> DataError:
    """Return the error for a cell with several values that should hold one."""
    bag = f'Give one value, or declare Bag("{column}").'
    cure = "Make a column of each of its parts." if isinstance(value, dict) else bag
    return DataError(
        f"{chunk.where.row(chunk.first + row)}: column '{column}' holds {value!r}, where one value is expected. {cure}"
    )


def _no_text(chunk: Chunk, row: int, column: str, value: bytes) -> DataError:
    """Return the error for bytes that are no text."""
    return DataError(
        f"{chunk.where.row(chunk.first + row)}: column '{column}' holds {value!r}, which is not UTF-8 text. "
        "Write the column as text, or leave it out of the schema."
    )


def places(counts: NDArray[np.int64], cut: Cut) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for values of cells with these counts one after another: which are kept, and their places in the grid."""
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    if not cut.history:
        place = within
    elif cut.reversed:
        place = cut.length - 1 - within
    else:
        place = cut.length - np.repeat(counts, counts) + within
    kept = np.flatnonzero((place >= 0) & (place < cut.length))
    return kept, rows[kept] * cut.length + place[kept]


@dataclass
class FrameChunk:
    """Rows of a polars frame."""

    frame: pl.DataFrame
    where: Where
    first: int = 0
    plain: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.frame.height

    def texts(self, column: str) -> Cells:
        """See `Chunk`."""
        series = self.frame.get_column(column)
        if series.dtype.is_nested() and series.null_count() < len(series):
            row = int(series.is_not_null().arg_max() or 0)
            raise _several(self, row, column, series.gather([row]).to_list()[0])
        return self._decoded(column, series)

    def _decoded(self, column: str, series: pl.Series, counts: NDArray[np.int64] | None = None) -> pl.Series:
        """Return the texts of a column, or of the values of its lists, of which each row has `counts`."""
        try:
            return text_series(series)
        except NotUtf8 as odd:
            row = odd.index if counts is None else int(np.searchsorted(np.cumsum(counts), odd.index, side="right"))
            raise _no_text(self, row, column, odd.value) from None

    def numbers(self, column: str) -> NDArray[np.float64]:
        """See `Chunk`."""
        series = self._cells(column)
        if series.dtype == pl.String:
            return self._parsed(column, series)
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean or series.dtype == pl.Null):
            return RowsChunk({column: series.to_list()}, self.rows, self.where, self.first).numbers(column)
        values = series.cast(pl.Float64).to_numpy().astype(np.float64)
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise not_a_number(self, row, column, series[row])
        return np.ascontiguousarray(values)

    def _cells(self, column: str) -> pl.Series:
        """Return a column, bytes as text."""
        series = self.frame.get_column(column)
        return self._decoded(column, series) if series.dtype == pl.Binary else series

    def _parsed(self, column: str, series: pl.Series) -> NDArray[np.float64]:
        texts = series.fill_null("").str.strip_chars()
        plain = texts.str.contains(_NUMBER)
        parsed = pl.select(pl.when(plain).then(texts)).to_series().cast(pl.Float64, strict=False)
        values = parsed.to_numpy().astype(np.float64)
        odd = np.isinf(values) | (
            np.isnan(values) & (plain | ~texts.str.to_lowercase().is_in(list(NO_NUMBER))).to_numpy()
        )
        for row in np.flatnonzero(odd).tolist():
            number = number_of(texts[row])
            if number is None:
                raise not_a_number(self, row, column, series[row])
            values[row] = number
        return np.ascontiguousarray(values)

    def grid(self, column: str, cut: Cut) -> Grid:
        """See `Chunk`."""
        series = self._cells(column)
        if series.dtype == pl.String:
            lists = pl.select(pl.when(series.fill_null("") != "").then(series.str.split(cut.separator))).to_series()
        elif isinstance(series.dtype, pl.Array):
            lists = series.arr.to_list()
        elif isinstance(series.dtype, pl.List) or series.dtype == pl.Null:
            lists = series.cast(pl.List(pl.String)) if series.dtype == pl.Null else series
        else:
            lists = pl.select(pl.when(text_series(series) != "").then(pl.concat_list(text_series(series)))).to_series()
        counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = self._decoded(column, lists.filter(lists.list.len() > 0).explode(), counts)
        if not cut.history and len(flat):
            full = (flat != "").to_numpy()
            rows = np.repeat(np.arange(len(counts)), counts)[full]
            flat, counts = flat.filter(pl.Series(full)), np.bincount(rows, minlength=len(counts)).astype(np.int64)
        kept, at = places(counts, cut)
        return Grid(flat if len(kept) == len(flat) else flat.gather(kept), at, counts)

    def vectors(self, columns: Sequence[str], dim: int) -> NDArray[np.float32]:
        """See `Chunk`."""
        series = self.frame.get_column(columns[0])
        if len(columns) == 1 and isinstance(series.dtype, (pl.Array, pl.List)):
            lists = series.arr.to_list() if isinstance(series.dtype, pl.Array) else series
            lens = lists.list.len().to_numpy()
            there = ~np.isnan(lens.astype(np.float64))
            if (lens[there] == dim).all():
                out = np.zeros((self.rows, dim), np.float32)
                out[there] = lists.drop_nulls().explode().cast(pl.Float32).to_numpy().reshape(-1, dim)
                return finite(self, columns, out)
        return RowsChunk(dict(self._lists(columns)), self.rows, self.where, self.first).vectors(columns, dim)

    def take(self, rows: NDArray[np.int64], first: int) -> FrameChunk:
        """See `Chunk`."""
        return FrameChunk(self.frame[rows], self.where, first)

    def _lists(self, columns: Sequence[str]) -> Iterable[tuple[str, list[Any]]]:
        return ((name, self._cells(name).to_list()) for name in columns)


@dataclass
class RowsChunk:
    """A few rows as one Python list per column."""

    columns: dict[str, list[Any]]
    rows: int
    where: Where
    first: int = 0
    plain: bool = False

    def texts(self, column: str) -> list[str | None]:
        """See `Chunk`."""
        values = self.columns[column]
        kinds = set(map(type, values))
        if kinds == {str}:
            return values
        if kinds == {int}:
            return list(map(str, values))
        if kinds & _SEVERAL:
            row = next(i for i, value in enumerate(values) if type(value) in _SEVERAL)
            raise _several(self, row, column, values[row])
        return [value if type(value) is str else self._text(row, column, value) for row, value in enumerate(values)]

    def _text(self, row: int, column: str, value: Any) -> str:
        try:
            return text_of(value)
        except NotUtf8:
            raise _no_text(self, row, column, value) from None

    def numbers(self, column: str) -> NDArray[np.float64]:
        """See `Chunk`."""
        values = self.columns[column]
        quick = _quick(values)
        if quick is not None:
            return quick
        numbers = [number_of(value) for value in values]
        if None in numbers:
            row = numbers.index(None)
            raise not_a_number(self, row, column, values[row])
        return np.array(numbers, np.float64)

    def all_numbers(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """Return `numbers` of several columns, [columns, rows], at once where their values are numbers already."""
        quick = _quick(list(chain.from_iterable(self.columns[name] for name in columns)))
        if quick is not None:
            return quick.reshape(len(columns), self.rows)
        return np.stack([self.numbers(name) for name in columns])

    def grid(self, column: str, cut: Cut) -> Grid:
        """See `Chunk`."""
        flat: list[str | None] = []
        counts = np.zeros(self.rows, np.int64)
        for row, cell in enumerate(self.columns[column]):
            cell = self._text(row, column, cell) if isinstance(cell, bytes) else cell
            texts = [v if type(v) is str else self._text(row, column, v) for v in _values(cell, cut.separator)]
            texts = texts if cut.history else [t for t in texts if t]
            flat += texts
            counts[row] = len(texts)
        kept, at = places(counts, cut)
        return Grid([flat[i] for i in kept.tolist()], at, counts)

    def vectors(self, columns: Sequence[str], dim: int) -> NDArray[np.float32]:
        """See `Chunk`."""
        if len(columns) > 1 or (dim == 1 and not any(map(_is_vector, self.columns[columns[0]]))):
            return np.nan_to_num(np.stack([self.numbers(name) for name in columns], 1)).astype(np.float32)
        out = np.zeros((self.rows, dim), np.float32)
        for row, cell in enumerate(self.columns[columns[0]]):
            cell = self._text(row, columns[0], cell) if isinstance(cell, bytes) else cell
            values = cell.strip("[] ").replace(",", " ").split() if isinstance(cell, str) else _values(cell, "")
            numbers = [number_of(value) for value in values]
            if not numbers:
                continue
            if len(numbers) != dim:
                raise DataError(
                    f"{self.where.row(self.first + row)}: column '{columns[0]}' holds a vector of {len(numbers)} "
                    f"numbers; its schema says dim={dim}. Correct the schema or the cell."
                )
            if None in numbers:
                raise not_a_number(self, row, columns[0], values[numbers.index(None)])
            out[row] = cast("list[float]", numbers)
        return finite(self, columns, out)

    def take(self, rows: NDArray[np.int64], first: int) -> RowsChunk:
        """See `Chunk`."""
        picked = {name: [values[i] for i in rows.tolist()] for name, values in self.columns.items()}
        return RowsChunk(picked, len(rows), self.where, first)


def _quick(values: list[Any]) -> NDArray[np.float64] | None:
    """Return numbers and Nones as floats; None if something else is among them, or a number may be too large."""
    try:
        numbers = np.array(array("d", values))
    except TypeError:  # a None, or no number
        if not set(map(type, values)) <= _QUICK:
            return None
        return _quick([math.nan if v is None else v for v in values])
    except OverflowError:  # a whole number beyond float64, which is refused with its row
        return None
    return None if (np.abs(numbers) >= _HUGE).any() else numbers


def _is_vector(cell: Any) -> bool:
    """Return whether a cell is a list, or one written in brackets."""
    return cell.lstrip().startswith("[") if isinstance(cell, str) else type(cell) in _SEVERAL


def _values(cell: Any, separator: str) -> list[Any]:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return []
    if isinstance(cell, str):
        return cell.split(separator) if cell else []
    if isinstance(cell, (int, float, np.number)):
        return [cell]
    if hasattr(cell, "__iter__"):
        return list(cell)
    return [cell] if text_of(cell) else []  # of pandas' NA and NaT there is no text


def finite(chunk: Chunk, columns: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors, or raise DataError if a number in them is NaN or infinite."""
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
        raise not_a_number(chunk, row, columns[0], float(vectors[row][~np.isfinite(vectors[row])][0]))
    return vectors
