"""Looking up the ids of a few rows at once: one call for all columns, for serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.chunk import RowsChunk
from clicksmith.encode.dictionary import FIND, CompiledDictionary, Dictionary
from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.texts import canonical, pack
from clicksmith.schema.columns import Categorical


class FewIds:
    """The categorical columns of a table with their dictionaries."""

    def __init__(self, columns: Sequence[Categorical], dictionaries: Sequence[Dictionary]) -> None:
        self._columns, self._dictionaries = columns, dictionaries
        self._names = [c.name for c in columns]
        self._blank = [i for i, c in enumerate(columns) if c.missing == "unseen"]
        self._compiled = [isinstance(d, CompiledDictionary) for d in dictionaries]
        handles = [d.handle if isinstance(d, CompiledDictionary) else 0 for d in dictionaries]
        self._handles = np.array(handles, np.uint64)
        self._others = [i for i, compiled in enumerate(self._compiled) if not compiled]

    def codes(self, chunk: RowsChunk, out: NDArray[np.int32]) -> None:
        """Write the codes [columns, rows] of a chunk."""
        texts: list[str] = []
        for name in self._names:
            texts += chunk.texts(name)  # type: ignore[arg-type] - a row's texts are never None
        texts = canonical(texts)  # type: ignore[assignment] - a list gives a list
        n = chunk.rows
        if LIBRARY is not None and texts:
            packed = pack(texts)
            LIBRARY.enc_rows(at(self._handles), len(self._names), n, at(packed.text), at(packed.ends), at(out))
        for c in self._others:
            self._dictionaries[c].codes(texts[c * n : c * n + n], FIND, out[c])
        for c in self._blank:
            for row in range(n):
                if not texts[c * n + row]:
                    out[c, row] = -1
