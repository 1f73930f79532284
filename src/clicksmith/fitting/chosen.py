"""Some rows of a source, as a source: how valid and test are taken off a training file before a fit sees it."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.chunk import Chunk, FrameChunk
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

    def fingerprint(self) -> str:
        """Return the SHA-256 of the source's content and of which rows are chosen."""
        return digest([self._source.fingerprint(), self._identity])

    def batches(self, columns: Sequence[str] | None = None, size: int = ROWS) -> Iterator[pl.DataFrame]:
        """Yield frames of up to `size` chosen rows."""
        for frame, _ in self._picked(columns, size):
            yield frame

    def chunks(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[list[Chunk]]:
        """Yield the chosen rows as chunks."""
        for frame, rows in self._picked([*numbers, *texts], ROWS):
            yield [FrameChunk(frame, self.name, _First(rows))]

    def _picked(self, columns: Sequence[str] | None, size: int) -> Iterator[tuple[pl.DataFrame, NDArray[np.int64]]]:
        start = 0
        for frame in self._source.batches(columns, size):
            low, high = np.searchsorted(self._rows, [start, start + frame.height])
            if high > low:
                rows = self._rows[low:high]
                yield frame[rows - start], rows
            start += frame.height


class _First(int):
    """The number of a chunk's first row; adding i gives the number of its i-th chosen row in the whole source."""

    def __new__(cls, rows: NDArray[np.int64]) -> "_First":
        first = super().__new__(cls, int(rows[0]))
        first._rows = rows
        return first

    _rows: NDArray[np.int64]

    def __add__(self, i: int) -> int:
        return int(self._rows[i])
