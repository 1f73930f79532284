"""Where a row stands, as errors say it: the file, the number of the row and, in a text file, its line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from clicksmith.encode.sniff import Dialect, open_text
from clicksmith.errors import DataError


@dataclass(frozen=True)
class Where:
    """What rows are read from: its name and, if it is a text file, how to find a row's line in it."""

    name: str
    text: tuple[Path, Dialect] | None = None

    def row(self, number: int) -> str:
        """Return what errors call the row of that number, counted from 0, as in "train.csv row 3 (line 4)"."""
        said = f"{self.name} row {number + 1}"
        return said if self.text is None else f"{said} (line {line_of(*self.text, number)})"


def in_text(path: Path, dialect: Dialect) -> Where:
    """Return the place of the rows of a text file."""
    return Where(path.name, (path, dialect))


def line_of(path: Path, dialect: Dialect, row: int) -> int:
    """Return the line, counted from 1, on which a row, counted from 0, begins.

    Reads the file once more, up to there: lines are counted for the one row that is refused, not for all that are fine.
    """
    with open_text(path) as file:
        line = file.read(dialect.skip).count(b"\n") + 1
        lines = iter(io.BufferedReader(file))  # type: ignore[arg-type]
        for text in lines:
            if text.rstrip(b"\r\n") or len(dialect.columns) == 1:
                if row == 0:
                    break
                row -= 1
            line += 1
            if b'"' in text:  # a quoted cell may go on in the next lines
                rest = (more.decode(errors="replace") for more in chain([text], lines))
                reader = csv.reader(rest, delimiter=dialect.delimiter)
                next(reader)
                line += reader.line_num - 1
    return line


def ragged(where: Where, row: int, cells: int, dialect: Dialect) -> DataError:
    """Return the error for a row with too few or too many cells; rows count from 0."""
    return DataError(
        f"{where.row(row)} has {cells} cells where {len(dialect.columns)} are expected "
        f"(delimiter {dialect.delimiter!r}). Mend the row, quote cells that hold the delimiter, or name the right one."
    )


def unclosed(where: Where, row: int) -> DataError:
    """Return the error for a quote that is open at the end of the file; rows count from 0."""
    return DataError(
        f"{where.row(row)}: a cell begins with a quote that is never closed, so that the rest of the file would "
        "be one cell. Close the quote, or double the quotes within a quoted cell."
    )
