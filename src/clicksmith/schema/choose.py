"""What a column is taken for, from its profile and its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from clicksmith.schema.columns import Bag, Categorical, Column, Multimodal, Numeric, Time
from clicksmith.schema.hints import names_quantity, names_things, names_time, role_of
from clicksmith.schema.profile import BRACKETS, ColumnProfile, no_date, odd
from clicksmith.schema.suspects import Suspect, strays

_FEW = 100
"""A whole-number column with at most this many values, each seen often, is taken as names."""
_JUDGED = 100
"""Rows needed to call a column one that never repeats."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a column becomes (None: ignored), why, and what is suspicious about it."""

    column: Column | None
    reason: str
    suspect: Suspect | None = None
    used: bool = False
    """The column is not a field, but a behaviour sequence uses it."""

    @property
    def field(self) -> bool:
        """Whether the column is an input of the model."""
        return self.column is not None and not isinstance(self.column, Time)


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses what columns are.

    rows: rows of the whole table; looked_at: rows of the sample
    copies: columns that repeat another
    """

    rows: int
    looked_at: int
    copies: Mapping[str, Suspect]

    def choose(self, column: ColumnProfile, cells: pl.Series) -> Choice:
        """Return what a column is taken for."""
        if column.kind == "empty":
            return Choice(None, "ignored: every cell is empty")
        if column.kind == "other":
            return _other(column, cells)
        if column.unique == 1 and column.missing == 0 and column.kind != "vector":
            where = f"the {column.rows:,} rows looked at"
            text = f"'{column.name}' holds '{column.top[0][0]}' in all of {where}; it tells nothing."
            return Choice(None, f"ignored: one value in {where}", Suspect(column.name, "constant", text))
        if column.name in self.copies:
            copy = self.copies[column.name]
            return Choice(None, f"ignored: {copy.text}", copy)
        if column.kind in ("vector", "list"):
            return self._several(column)
        if column.kind == "date":
            return Choice(Time(column.name, unit="text"), "the time of the row: dates; orders the rows, not an input")
        if column.kind in ("integer", "number"):
            return self._number(column, cells)
        return self._names(column, cells)

    def _several(self, column: ColumnProfile) -> Choice:
        mean, longest = column.length or (0.0, 0)
        role = role_of(column.name)
        if column.kind == "vector":
            return Choice(Multimodal(column.name, dim=longest, role=role), f"a vector: {longest} numbers in every cell")
        if column.separator == BRACKETS:
            first = column.top[0][0] if column.top else ""
            text = f"'{column.name}' holds lists in brackets, as in [{first}, ...]; to use them, write 3|7."
            return Choice(
                None, "ignored: lists in brackets, which only vectors may be", Suspect(column.name, "text", text)
            )
        length = max(2, min(longest, 50))
        separator = column.separator or "|"
        bag = Bag(column.name, role=role, separator=separator, max_length=length, min_count=self._min_count(column))
        how = "a list" if column.separator is None else f"text cut at '{separator}'"
        return Choice(bag, f"several values in a cell ({how}, {mean:.1f} on average)")

    def _number(self, column: ColumnProfile, cells: pl.Series) -> Choice:
        time = self._time(column, cells)
        if time is not None:
            return time
        if column.kind == "integer" and not _is_quantity(column):
            return self._names(column, cells)
        role = role_of(column.name)
        if _skewed(column):
            counts = column.kind == "integer" and self.rows >= 100_000
            if counts:
                scale, how = "log_square", "counts with a long tail: cut into steps of the squared logarithm"
            else:
                scale, how = "log", "a long tail: its logarithm is used"
            return Choice(
                Numeric(column.name, role=role, scale=scale, min_count=10 if counts else 1), f"numbers with {how}"
            )
        return Choice(
            Numeric(column.name, role=role), f"numbers between {column.quantiles[0]:g} and {column.quantiles[-1]:g}"
        )

    def _time(self, column: ColumnProfile, cells: pl.Series) -> Choice | None:
        if column.kind != "integer" or not names_time(column.name) or not column.quantiles:
            return None
        low, high = column.quantiles[0], column.quantiles[-1]
        if low >= 6e8 and high <= 5e9:
            return Choice(
                Time(column.name, unit="s"), "the time of the row: seconds since 1970; orders the rows, not an input"
            )
        if low >= 6e11 and high <= 5e12:
            return Choice(
                Time(column.name, unit="ms"), "the time of the row: milliseconds; orders the rows, not an input"
            )
        pattern = r"^(19|20)?[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])?$"
        texts = cells.cast(pl.String).drop_nulls()
        if low >= 100_000 and texts.str.contains(pattern).all():
            reason = (
                "the time of the row: dates as digits; orders the rows, not an input (add hour or weekday as columns)"
            )
            return Choice(Time(column.name, unit="s"), reason)
        return None

    def _names(self, column: ColumnProfile, cells: pl.Series) -> Choice:
        suspect = strays(cells, column) if column.kind == "text" and not names_things(column.name) else None
        if column.filled >= _JUDGED and column.distinct_share >= 0.999:
            text = (
                f"'{column.name}' has another value in each of {column.filled} rows; a model can learn nothing from it."
            )
            return Choice(None, "ignored: its values never repeat", suspect or Suspect(column.name, "row id", text))
        if column.kind == "text" and column.length and column.length[0] > 30 and column.distinct_share > 0.5:
            text = f"'{column.name}' is free text; embed it and give the vectors as a Multimodal column."
            return Choice(None, "ignored: free text", Suspect(column.name, "text", text))
        why = "true or false" if column.kind == "flag" else f"names: {column.unique} values in {column.filled} rows"
        if column.kind == "integer":
            why = f"numbers used as names: {column.unique} values"
        few = self._min_count(column)
        rare = f"; values seen less than {few} times share one vector" if few > 1 else ""
        return Choice(Categorical(column.name, role=role_of(column.name), min_count=few), why + rare, suspect)

    def _min_count(self, column: ColumnProfile) -> int:
        """Return how often a value must be seen: more for larger tables, where ids are many."""
        if column.unique <= _FEW:
            return 1
        return next((count for rows, count in ((10_000_000, 10), (1_000_000, 5), (10_000, 2)) if self.rows >= rows), 1)


def _other(column: ColumnProfile, cells: pl.Series) -> Choice:
    what = odd(cells)
    if what is not None:
        text = f"'{column.name}' holds {what}."
        return Choice(None, f"ignored: {what}", Suspect(column.name, "text", text))
    bad, count = no_date(cells) or ("", 0)
    text = (
        f"'{column.name}' holds dates, but {count} of {column.filled} cells hold none, for example '{bad}', so it is "
        "not taken as the time. Empty or mend those cells."
    )
    return Choice(None, "ignored: dates, some of which are none", Suspect(column.name, "mixed", text))


def _is_quantity(column: ColumnProfile) -> bool:
    """Whether whole numbers are a quantity rather than names."""
    if column.leading_zeros or not column.quantiles:
        return False
    few = column.unique <= _FEW and column.unique <= max(2, column.filled // 20)
    if names_quantity(column.name) and not names_things(column.name):
        return column.unique > 10
    if names_things(column.name) or few:
        return False
    low, middle, high = column.quantiles[0], column.quantiles[4], column.quantiles[-1]
    if column.distinct_share >= 0.999 and high - low < 1.5 * column.unique:
        return False  # rows numbered one after another
    recurring = middle >= 100 and column.unique <= column.filled // 8 and high - low > 5 * column.unique
    ordinary, most = column.quantiles[1], column.quantiles[-2]
    of_one_length = ordinary >= 1000 and len(str(int(ordinary))) == len(str(int(most))) and column.distinct_share < 0.5
    return not (recurring or of_one_length) and low > -(2**53) and high < 2**53


def _skewed(column: ColumnProfile) -> bool:
    low, middle, most = column.quantiles[0], column.quantiles[4], column.quantiles[-2]
    return low >= -3 and most > 20 * max(abs(middle), 0.05) if low < 0 or middle > 0 else low >= 0 and most > 10
