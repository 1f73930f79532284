"""A store with crosses appended to its ids: computed once where that is small, else for each piece that is read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.crosses import PIECE, Cross, cross_ids, extended_layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.identity import digest

SMALL = 1 << 28
"""Bytes of cross ids that are kept in memory."""


class Crossed(Store):
    """The rows of `store` with the columns of `crosses` at the end of their ids."""

    def __init__(self, store: Store, crosses: Sequence[Cross], *, small: int = SMALL) -> None:
        self._store, self._crosses = store, tuple(crosses)
        self.layout = extended_layout(store.layout, crosses)
        self.digest = digest([store.digest, *([c.of, c.base, c.rows] for c in crosses)])
        self._kept: NDArray[np.int32] | None = None
        if store.rows * len(crosses) * 4 <= small:
            self._kept = np.empty((store.rows, len(crosses)), np.int32)
            for start in range(0, store.rows, PIECE):
                ids = store.slice(start, start + PIECE).ids
                self._kept[start : start + PIECE] = cross_ids(store.layout, ids, self._crosses)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._store.rows

    def slice(self, start: int, stop: int) -> EncodedRows:
        """Return rows start <= row < stop."""
        rows = self._store.slice(start, stop)
        return self._with(rows, None if self._kept is None else self._kept[start:stop])

    def take(self, row_numbers: NDArray[Any]) -> EncodedRows:
        """Return copies of the rows with these numbers, in their order."""
        rows = self._store.take(row_numbers)
        return self._with(rows, None if self._kept is None else self._kept[row_numbers])

    @property
    def targets(self) -> Arrays:
        """Those of the store."""
        return self._store.targets

    def release(self) -> None:
        """Give the mapped pages back to the system."""
        self._store.release()

    def _with(self, rows: EncodedRows, kept: NDArray[np.int32] | None) -> EncodedRows:
        found = cross_ids(self._store.layout, rows.ids, self._crosses) if kept is None else kept
        return replace(rows, ids=np.concatenate([rows.ids, found], 1))
