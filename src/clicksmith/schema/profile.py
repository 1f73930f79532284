"""What the columns of a table hold: kind, missing cells, distinct values, the most frequent ones, quantiles.

Read by `infer`, by `describe` and by the HTML report. Columns may be of any type, or all text as in a CSV.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

import msgspec
import polars as pl

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
_CODE = r"^0[0-9]"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( UTC|Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
_ARRAY = r"^\[.*\]$"
_BLANK = ("", "nan", "na", "null", "none")
_SEPARATORS = ("|", "^", ";", ",", " ")
BRACKETS = "[]"
"""Separator of a column whose cells are lists in brackets: vectors are read so, other lists are not."""
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
TOP = 10

Kind = Literal["integer", "number", "text", "flag", "date", "list", "vector", "empty", "other"]
"""integer: whole; flag: true or false; list: several values in a cell; vector: equally many numbers in each cell;
other: what no column of a schema can hold (see `odd`)."""


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What one column holds.

    Shape:
        quantiles: at the shares `QUANTILES`; empty unless the column holds numbers
        top: the most frequent values with their counts; of a list column, of the single values
    """

    name: str
    kind: Kind
    rows: int
    missing: int
    unique: int
    """Distinct values; of a list column, distinct single values."""
    top: tuple[tuple[str, int], ...] = ()
    quantiles: tuple[float, ...] = ()
    mean: float | None = None
    length: tuple[float, int] | None = None
    """Mean and greatest number of values in a cell of a list or vector; of characters in a text."""
    separator: str | None = None
    """What separates the values of a list that is written as text; None for list columns."""
    leading_zeros: bool = False
    """Some numbers begin with a zero, as codes do and quantities do not."""

    @property
    def filled(self) -> int:
        """Cells that are not missing."""
        return self.rows - self.missing

    @property
    def distinct_share(self) -> float:
        """Distinct values per filled cell."""
        return self.unique / max(1, self.filled)


def profile(frame: pl.DataFrame) -> tuple[ColumnProfile, ...]:
    """Return the profile of every column."""
    return tuple(profile_column(frame.get_column(name)) for name in frame.columns)


def profile_column(series: pl.Series) -> ColumnProfile:
    """Return the profile of one column."""
    series = decoded(series)
    kind = series.dtype
    if series.null_count() == series.len():
        return ColumnProfile(name=series.name, kind="empty", rows=series.len(), missing=series.len(), unique=0)
    if odd(series) is not None:
        return ColumnProfile(name=series.name, kind="other", rows=series.len(), missing=series.null_count(), unique=0)
    if isinstance(kind, (pl.List, pl.Array)):
        return _listed(series.name, series.arr.to_list() if isinstance(kind, pl.Array) else series, None)
    if kind == pl.Boolean:
        return _plain(series.name, "flag", series.cast(pl.String))
    if isinstance(kind, (pl.Date, pl.Datetime)):
        return _plain(series.name, "date", series.cast(pl.String))
    if kind.is_numeric():
        return _numbers(series.name, series.fill_nan(None) if kind.is_float() else series, series)
    return _text(series.name, series.cast(pl.String))


def decoded(series: pl.Series) -> pl.Series:
    """Return bytes as text, as long as all of them are UTF-8; any other column as it is."""
    kind = pl.List(pl.String) if series.dtype == pl.List(pl.Binary) else pl.String
    if series.dtype not in (pl.Binary, pl.List(pl.Binary)):
        return series
    try:
        return series.cast(kind)
    except pl.exceptions.ComputeError:
        return series


def odd(series: pl.Series) -> str | None:
    """Return what a column holds if no column of a schema can be read from it, with what to do; else None."""
    kind = decoded(series).dtype
    if isinstance(kind, (pl.List, pl.Array)):
        inner = kind.inner
        if isinstance(inner, (pl.List, pl.Array)):
            return "a list of lists in every cell; give each of the inner lists a column"
        if isinstance(inner, pl.Struct):
            return "a list of records in every cell; give each of their parts a column"
        if isinstance(inner, (pl.Binary, pl.Duration, pl.Object)):
            return f"lists of {_ODD[type(inner)]}"
        return None
    return _ODD.get(type(kind))


_ODD: dict[type, str] = {
    pl.Binary: "bytes that are not UTF-8 text; write them as text, for example in hexadecimal digits",
    pl.Duration: "spans of time; write them as numbers, for example of seconds",
    pl.Struct: "a record in every cell; make a column of each of its parts",
    pl.Time: "times of day; write them as numbers, or as a date and time",
    pl.Object: "Python objects; write them as text, numbers or lists",
}


def no_date(cells: pl.Series) -> tuple[str, int] | None:
    """Return the first cell of a column of dates that is none, and how many there are; None if all are dates."""
    texts = cells.cast(pl.String).str.strip_chars()
    bad = [text for text in texts.drop_nulls().unique(maintain_order=True) if text and not is_date(text)]
    return (bad[0], int(texts.is_in(bad).sum())) if bad else None


def is_date(text: str) -> bool:
    """Return whether a text is a date, with a time of day or without."""
    try:
        datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return False
    return True


def texts_of(series: pl.Series) -> pl.Series:
    """Return a column's cells as texts, empty cells as null; a list column as its repr."""
    if isinstance(series.dtype, (pl.List, pl.Array)):
        return pl.Series(series.name, [None if v is None else str(v) for v in series.to_list()], dtype=pl.String)
    texts = series.cast(pl.String)
    if series.dtype.is_float():  # whole ones as the encoder reads them: 1, not 1.0
        whole = series.fill_nan(None).cast(pl.Int64, strict=False)
        texts = pl.select(
            pl.when(whole.cast(pl.Float64) == series).then(whole.cast(pl.String)).otherwise(texts)
        ).to_series()
        texts = texts.alias(series.name).set(series.is_nan().fill_null(False), None)
    return texts.set(texts == "", None)


def numbers_of(series: pl.Series) -> pl.Series:
    """Return a column of numbers, or of numbers written as text, as floats; null where missing."""
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_nan(None)
    return series.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).fill_nan(None)


def _text(name: str, series: pl.Series) -> ColumnProfile:
    values = series.str.strip_chars()
    filled = values.filter(values.is_not_null() & (values != ""))
    if filled.len() == 0:
        return ColumnProfile(name=name, kind="empty", rows=series.len(), missing=series.len(), unique=0)
    known = filled.filter(~filled.str.to_lowercase().is_in(list(_BLANK)))
    if known.len() and known.str.contains(NUMBER).all():
        return _numbers(name, numbers_of(series), series, bool(known.str.contains(_CODE).any()))
    if filled.str.to_lowercase().is_in(["true", "false"]).all():
        return _plain(name, "flag", values)
    if filled.str.contains(_DATE).all():
        return _plain(name, "date" if no_date(filled) is None else "other", values)
    if filled.str.contains(_ARRAY).all():
        lists = values.str.strip_chars("[] ").str.split(",")
        numeric = lists.explode().str.strip_chars().str.contains(NUMBER).all()
        return _listed(
            name, lists.list.eval(pl.element().cast(pl.Float64, strict=False)) if numeric else lists, BRACKETS
        )
    separator = _separator(filled)
    if separator is not None:
        empty_to_null = pl.select(pl.when(values != "").then(values)).to_series()
        return _listed(name, empty_to_null.str.split(separator), separator)
    return _plain(name, "text", values)


def _plain(name: str, kind: Kind, texts: pl.Series) -> ColumnProfile:
    filled = texts.filter(texts.is_not_null() & (texts != ""))
    if filled.len() == 0:
        kind = "empty"
    sizes = filled.str.len_chars()
    length = (float(sizes.mean() or 0.0), int(sizes.max() or 0)) if filled.len() else None  # type: ignore[arg-type]
    missing = texts.len() - filled.len()
    return ColumnProfile(
        name=name,
        kind=kind,
        rows=texts.len(),
        missing=missing,
        unique=filled.n_unique(),
        top=_top(filled),
        length=length,
    )


def _numbers(name: str, numbers: pl.Series, cells: pl.Series, leading_zeros: bool = False) -> ColumnProfile:
    filled = numbers.drop_nulls()
    if filled.len() == 0:
        return ColumnProfile(name=name, kind="empty", rows=cells.len(), missing=cells.len(), unique=0)
    floats = filled.cast(pl.Float64)
    finite = floats.filter(floats.is_finite())
    whole = bool((finite == finite.floor()).all()) if not filled.dtype.is_integer() else True
    exact = filled if filled.dtype.is_integer() else texts_of(cells).drop_nulls()  # ids beyond 2^53 stay apart
    mean = finite.mean()
    return ColumnProfile(
        name=name,
        kind="integer" if whole else "number",
        rows=cells.len(),
        missing=cells.len() - filled.len(),
        unique=exact.n_unique(),
        top=_top(exact.cast(pl.String)),
        quantiles=tuple(float(finite.quantile(q, "nearest") or 0.0) for q in QUANTILES) if finite.len() else (),
        mean=float(mean) if isinstance(mean, (int, float)) and math.isfinite(mean) else None,
        leading_zeros=leading_zeros,
    )


def _listed(name: str, lists: pl.Series, separator: str | None) -> ColumnProfile:
    sizes = lists.list.len()
    filled = lists.filter(lists.is_not_null() & (sizes.fill_null(0) > 0))
    if filled.len() == 0:
        return ColumnProfile(name=name, kind="empty", rows=lists.len(), missing=lists.len(), unique=0)
    counts = filled.list.len()
    longest, even = int(counts.max() or 0), counts.n_unique() == 1  # type: ignore[arg-type]
    single = filled.explode()
    vector = single.dtype.is_float() and even and longest > 1
    texts = single.cast(pl.String)
    return ColumnProfile(
        name=name,
        kind="vector" if vector else "list",
        rows=lists.len(),
        missing=lists.len() - filled.len(),
        unique=single.n_unique(),
        top=() if vector else _top(texts.drop_nulls()),
        length=(float(counts.mean() or 0.0), longest),  # type: ignore[arg-type]
        separator=separator,
    )


def _top(texts: pl.Series) -> tuple[tuple[str, int], ...]:
    counts = texts.alias("value").value_counts(name="count")
    least = counts.get_column("count").top_k(TOP).min()
    often = counts.filter(pl.col("count") >= least) if counts.height > TOP else counts  # sorting all of them is slow
    counted = often.sort(["count", "value"], descending=[True, False]).head(TOP)
    return tuple((str(value), int(count)) for value, count in counted.iter_rows())


def _separator(filled: pl.Series) -> str | None:
    """Return what separates the values of delimited text, if the cells are lists of values that recur."""
    for separator in _SEPARATORS:
        having = filled.filter(filled.str.contains(separator, literal=True))
        if having.len() < 0.2 * filled.len():
            continue
        parts = filled.str.split(separator).explode()
        long = parts.len() >= 5 * filled.len()  # histories of few users hold more values than there are cells
        few = long or parts.n_unique() <= max(2 * filled.n_unique(), 20)
        recur = few and parts.n_unique() <= 0.5 * parts.len()
        if separator in ", " and not parts.str.contains(r"^[0-9]+$").all():
            continue  # a sentence, not a list
        if recur and not (parts == "").all():
            return separator
    return None
