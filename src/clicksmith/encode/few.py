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

    def codes(self, chunk: RowsChunk, out: NDArray[np.int32]) -> None:
        """Write the codes [columns, rows] of a chunk; a value that all rows have (their user's) is looked up once."""
        columns, plain = self._texts(chunk)
        alike = [len(cells) > 1 and cells.count(cells[0]) == len(cells) for cells in columns]
        one = [c for c, same in enumerate(alike) if same]
        each = [c for c, same in enumerate(alike) if not same]
        if one:
            out[one] = self._found(one, [columns[c][0] for c in one], 1, plain)
        if each:
            out[each] = self._found(each, list(chain.from_iterable(columns[c] for c in each)), chunk.rows, plain)

    def _texts(self, chunk: RowsChunk) -> tuple[list[list[str]], bool]:
        """Return the columns as texts, and whether none of them can need `canonical`."""
        columns: list[list[str]] = [chunk.columns[name] for name in self._names]
        try:
            whole = "".join(chain.from_iterable(columns))
        except TypeError:  # not all of them are texts yet
            columns = [cast("list[str]", chunk.texts(name)) for name in self._names]  # a row's texts are never None
            whole = "".join(chain.from_iterable(columns))
        return columns, is_plain(whole)

    def _found(self, chosen: list[int], texts: list[str], n: int, plain: bool) -> NDArray[np.int32]:
        """Return the codes [chosen, n] of the texts of chosen columns, one column after another."""
        texts = texts if plain else canonical(texts)  # type: ignore[assignment] - a list gives a list
        found = np.empty((len(chosen), n), np.int32)
        if LIBRARY is not None and texts:
            packed, handles = pack(texts), self._handles[chosen]
            LIBRARY.enc_rows(at(handles), len(chosen), n, at(packed.text), at(packed.ends), at(found))
        for i, c in enumerate(chosen):
            if c in self._others:
                self._dictionaries[c].codes(texts[i * n : i * n + n], FIND, found[i])
            if c in self._blank:
                found[i, [not text for text in texts[i * n : i * n + n]]] = -1
        return found


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
