"""Reading the ids and numbers of a few rows: one call for all columns, for serving."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.chunk import RowsChunk
from clicksmith.encode.dictionary import FIND, CompiledDictionary, Dictionary
from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.numbers import bent, refuse_missing
from clicksmith.encode.texts import canonical, is_plain, pack
from clicksmith.schema.columns import Categorical, Numeric


class FewIds:
    """The categorical columns of a table with their dictionaries."""

    def __init__(self, columns: Sequence[Categorical], dictionaries: Sequence[Dictionary]) -> None:
        self._columns, self._dictionaries = columns, dictionaries
        self._names = [c.name for c in columns]
        self._blank = {i for i, c in enumerate(columns) if c.missing == "unseen"}
        handles = [d.handle if isinstance(d, CompiledDictionary) else 0 for d in dictionaries]
        self._handles = np.array(handles, np.uint64)
        self._others = {i for i, d in enumerate(dictionaries) if not isinstance(d, CompiledDictionary)}
        self._apart = sorted(self._blank | self._others)

    def codes(self, chunk: RowsChunk, out: NDArray[np.int32]) -> None:
        """Write the codes of a chunk to `out` [columns, rows], which is contiguous.

        A value that all rows have (their user's) is looked up once.
        """
        try:
            parts = _parts([chunk.columns[name] for name in self._names])
            joined = "\0".join(chain.from_iterable(parts))
        except (TypeError, ValueError):  # not all of them are texts yet
            parts = _parts([cast("list[str]", chunk.texts(name)) for name in self._names])  # never None
            joined = "\0".join(chain.from_iterable(parts))
        texts = list(chain.from_iterable(parts))
        if not texts:
            return
        if not is_plain(joined):
            texts, joined = cast("list[str]", canonical(texts)), None
        counts = np.array([len(part) for part in parts], np.int64)
        if LIBRARY is not None:
            packed, args = pack(texts, joined), (at(self._handles), at(counts), len(parts), chunk.rows)
            LIBRARY.enc_rows(*args, at(packed.text), at(packed.ends), at(out))
        for c in self._apart:
            start, n = int(counts[:c].sum()), int(counts[c])
            codes = out[c, :n]
            if c in self._others:
                self._dictionaries[c].codes(texts[start : start + n], FIND, codes)
            if c in self._blank:
                codes[[not text for text in texts[start : start + n]]] = -1
            out[c, n:] = codes[0]


def _parts(columns: list[list[str]]) -> list[list[str]]:
    """Return the columns, those in which all cells are equal with their first one only."""
    return [
        cells[:1] if len(cells) > 1 and cells[0] == cells[-1] and cells.count(cells[0]) == len(cells) else cells
        for cells in columns
    ]


class FewNumbers:
    """The numeric columns of a table."""

    def __init__(self, columns: Sequence[Numeric]) -> None:
        self._names = [c.name for c in columns]
        self._refuse = [(i, c) for i, c in enumerate(columns) if c.missing == "refuse"]
        self._bent = [i for i, c in enumerate(columns) if c.scale == "log"]
        self._all_bent = len(self._bent) == len(columns)

    def read(self, chunk: RowsChunk) -> NDArray[np.float64]:
        """Return the numbers [columns, rows] of a chunk, logarithms where the scale says so."""
        numbers = chunk.all_numbers(self._names)
        for i, column in self._refuse:
            refuse_missing(column, numbers[i], chunk.where, chunk.first)
        if self._all_bent:
            return bent(numbers)
        numbers[self._bent] = bent(numbers[self._bent])
        return numbers
