"""Reading what only losses and metrics see: labels, weights, times, groups."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.chunk import Chunk, FrameChunk
from clicksmith.encode.dictionary import NUMBER, Dictionary, new_dictionary
from clicksmith.encode.hashing import hashes
from clicksmith.encode.texts import canonical, number_of
from clicksmith.errors import DataError
from clicksmith.schema.columns import Label, Time

_WORDS = {"true": 1.0, "false": 0.0}


class LabelReader:
    """Reads one label column and remembers which values it met."""

    def __init__(self, label: Label) -> None:
        self.label = label
        self.met: set[float] = set()
        self._dictionary: Dictionary = new_dictionary()
        self._values = np.zeros(1, np.float32)

    def read(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return the labels of a chunk. Raises DataError naming the row of a bad one."""
        name = self.label.name
        codes = np.zeros(chunk.rows, np.int32)
        known = len(self._dictionary)
        self._dictionary.codes(chunk.texts(name), NUMBER, codes)
        if len(self._dictionary) > known:
            numbers = np.arange(known, len(self._dictionary), dtype=np.int32)
            texts = self._dictionary.pick(numbers).to_list()
            values = [self._value(text) for text in texts]
            self._values = np.append(self._values, np.array([math.nan if v is None else v for v in values], np.float32))
            self.met |= {v for v in values if v is not None}
        labels = self._values[codes]
        bad = np.flatnonzero(np.isnan(labels))
        if len(bad):
            text = self._dictionary.pick(codes[bad[:1]] - 1).to_list()[0]
            raise self._bad(chunk, int(bad[0]), text)
        return labels

    def _value(self, text: str) -> float | None:
        if self.label.positive is not None:
            return float(self._is_positive(text)) if text else None
        number = _WORDS.get(text.lower(), number_of(text))
        if number is None or math.isnan(number):
            return None
        return number if self.label.task != "binary" or number in (0.0, 1.0) else None

    def _is_positive(self, text: str) -> bool:
        """Whether a cell is the word for 1; spaces around it, and how a number is written, do not matter."""
        word, cell = str(self.label.positive).strip(), text.strip()
        number = number_of(cell)
        return cell == word or (number is not None and number == number_of(word))

    def _bad(self, chunk: Chunk, row: int, text: str) -> DataError:
        name, where = self.label.name, f"{chunk.where.row(chunk.first + row)}"
        if not text:
            return DataError(
                f"{where}: the label '{name}' is empty. Rows to learn from or to measure need a label: drop those "
                "without, or score them by `predict`."
            )
        if self.label.task == "binary":
            return DataError(
                f"{where}: the label '{name}' is {text!r}; a label is 0 or 1. "
                f'Correct it, or name the word that means 1: Label("{name}", positive="...").'
            )
        return DataError(
            f"{where}: the label '{name}' is {text!r}, which is not a finite number. Correct or drop the row."
        )

    def check_classes(self, where: str) -> None:
        """Raise DataError if a binary label had one value only."""
        if self.label.task == "binary" and len(self.met) == 1:
            only = int(next(iter(self.met)))
            raise DataError(
                f"{where}: the label '{self.label.name}' is {only} in every row; a model needs both 0 and 1 to learn "
                "from. Check the label column and how the rows were chosen."
            )


def read_weight(chunk: Chunk, name: str) -> NDArray[np.float32]:
    """Return the weights of a chunk: numbers, finite and not negative."""
    values = chunk.numbers(name)
    bad = np.flatnonzero(~((values >= 0) & (values <= np.finfo(np.float32).max)))
    if len(bad):
        held = "nothing" if math.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise DataError(
            f"{chunk.where.row(chunk.first + int(bad[0]))}: the weight '{name}' holds {held}; "
            "a weight is a finite number of 0 or more. Fill or correct it."
        )
    return values.astype(np.float32)


def read_group(chunk: Chunk, name: str) -> NDArray[np.int64]:
    """Return a number per row that is equal for equal values: 63 bits of the value's hash, the same in every file."""
    cells = chunk.texts(name)
    return (hashes(cells if chunk.plain else canonical(cells)) >> np.uint64(1)).astype(np.int64)


def group_texts(chunk: FrameChunk, name: str) -> pl.Series:
    """Return the groups of a chunk as the texts that name them: what is one id is one group."""
    return cast("pl.Series", canonical(chunk.texts(name)))


def read_time(chunk: Chunk, time: Time) -> NDArray[np.float64]:
    """Return the times of a chunk in seconds."""
    if time.unit != "text":
        return chunk.numbers(time.name) / (1000.0 if time.unit == "ms" else 1.0)
    cells = chunk.texts(time.name)
    texts = cells.to_list() if isinstance(cells, pl.Series) else [cells[i] for i in range(chunk.rows)]
    known = {text: _seconds(text or "") for text in set(texts)}
    for row, text in enumerate(texts):
        if known[text] is None:
            raise DataError(
                f"{chunk.where.row(chunk.first + row)}: the time '{time.name}' is {text!r}, which is not a date "
                'and time such as 2026-11-24T10:00:00. Correct it, or declare Time(unit="s") or "ms" for numbers.'
            )
    return np.array([known[text] for text in texts], np.float64)


def _seconds(text: str) -> float | None:
    if not text:
        return math.nan
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
