"""Some rows of a source, as a source: how valid and test are taken off a training file before a fit sees it."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.chunk import Chunk
from clicksmith.encode.source import ROWS, Source
from clicksmith.identity import digest


class Chosen(Source):
    """The rows of a source whose numbers are chosen, in the source's order. Errors name the source's row numbers."""

    def __init__(self, source: Source, rows: NDArray[np.int64], identity: str) -> None:
        super().__init__(source.name, source.columns, [], None)
        self._source = source
        self._rows = np.sort(rows)
        self._identity = identity

    @property
    def rows_hint(self) -> int:
        """Number of chosen rows."""
        return len(self._rows)

    @property
    def bare(self) -> tuple[str, ...]:
        """Those of the whole source."""
        return self._source.bare

    def fingerprint(self) -> str:
        """Return the SHA-256 of the source's content and of which rows are chosen."""
        return digest([self._source.fingerprint(), self._identity])

    def batches(self, columns: Sequence[str] | None = None, size: int = ROWS) -> Iterator[pl.DataFrame]:
        """Yield frames of up to `size` chosen rows."""
        start = 0
        for frame in self._source.batches(columns, size):
            low, high = np.searchsorted(self._rows, [start, start + frame.height])
            if high > low:
                yield frame[self._rows[low:high] - start]
            start += frame.height

    def chunks(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[list[Chunk]]:
        """Yield the chosen rows as chunks."""
        start = 0
        for group in self._source.chunks(numbers, texts):
            picked: list[Chunk] = []
            for chunk in group:
                low, high = np.searchsorted(self._rows, [start, start + chunk.rows])
                if high > low:
                    rows = self._rows[low:high] - start
                    picked.append(chunk.take(rows, _First(rows + chunk.first)))
                start += chunk.rows
            if picked:
                yield picked


class _First(int):
    """The number of a chunk's first row; adding i gives the number of its i-th chosen row in the whole source."""

    def __new__(cls, rows: NDArray[np.int64]) -> "_First":
        first = super().__new__(cls, int(rows[0]))
        first._rows = rows
        return first

    _rows: NDArray[np.int64]

    def __add__(self, i: int) -> int:
        return int(self._rows[i])
