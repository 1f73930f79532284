"""Batches of a store in an order that depends on seed and epoch only, so that any step of any epoch can be resumed.

Rows that fit in memory are permuted as a whole. Beyond that, blocks of neighbouring rows are drawn in random order, and
the rows of a few blocks at a time are permuted among themselves: the disk is read in long pieces, and what was read
is given back after each, so that memory does not grow with the store. There are no worker
processes: gathering a batch from mapped memory costs well under a hundredth of a training step.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.batch.batch import Batch, batch_of
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError

RESIDENT = 1 << 30
"""Stores of at most this many bytes are permuted as a whole."""
BLOCK_ROWS = 1 << 16
"""About this many neighbouring rows are read as one block."""
POOL_BLOCKS = 16
"""The rows of this many blocks are permuted among themselves."""

RowNumbers = NDArray[np.signedinteger[Any]]


class Loader:
    """Hands out the rows of `store` in batches; the last batch of an epoch may be smaller.

    Args:
        shuffle: draw a new order in each epoch; otherwise rows come in their own order.
        negative_rate: share of the rows with label 0 that each epoch draws anew (rows with a label 1 all stay).
        resident: see `RESIDENT`.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        negative_rate: float = 1.0,
        resident: int = RESIDENT,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be at least 1.")
        self.store, self.batch_size, self.seed, self.shuffle = store, batch_size, seed, shuffle
        self._kept = _Kept(store, negative_rate, seed) if negative_rate < 1 else None
        self.rows = store.rows if self._kept is None else self._kept.rows
        self.steps = math.ceil(self.rows / batch_size) - int(self.rows > batch_size and self.rows % batch_size == 1)
        """Batches in an epoch. A single row left over sits the epoch out: batch normalisation cannot take it."""
        whole = store.rows * bytes_per_row(store) <= resident
        self._whole = whole
        self._block = batch_size * (max(self.steps, 1) if whole else max(1, BLOCK_ROWS // batch_size))
        self._number = np.dtype(np.int32 if store.rows < 2**31 else np.int64)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on."""
        for rows in self.order(epoch, start):
            yield self.batch(rows)

    def batch(self, rows: RowNumbers) -> Batch:
        """Return the rows of those numbers as a batch."""
        return batch_of(self.store.take(rows))

    def order(self, epoch: int, start: int = 0) -> Iterator[RowNumbers]:
        """Yield the row numbers of each batch of an epoch from step `start` on."""
        kept = None if self._kept is None else self._kept.draw(epoch)
        per_pool = self._block * POOL_BLOCKS // self.batch_size
        blocks = self._blocks(epoch)
        for pool in range(start // per_pool, math.ceil(len(blocks) / POOL_BLOCKS)):
            rows = self._pool(blocks[pool * POOL_BLOCKS : (pool + 1) * POOL_BLOCKS], [self.seed, epoch, pool])
            rows = rows if kept is None else kept[rows]
            skipped = max(0, start - pool * per_pool) * self.batch_size
            for at in range(skipped, len(rows), self.batch_size):
                if at + 1 < len(rows) or self.rows <= self.batch_size or self.batch_size == 1:
                    yield rows[at : at + self.batch_size]
            if not self._whole:
                self.store.release()

    def _blocks(self, epoch: int) -> NDArray[np.int64]:
        """Return the blocks in the epoch's order; a shorter one is last, so that only the last batch is short."""
        count = math.ceil(self.rows / self._block)
        if not self.shuffle:
            return np.arange(count)
        whole = self.rows // self._block
        order = np.random.default_rng([self.seed, epoch]).permutation(whole)
        return order if whole == count else np.append(order, whole)

    def _pool(self, blocks: NDArray[np.int64], seed: list[int]) -> RowNumbers:
        ends = np.minimum((blocks + 1) * self._block, self.rows)
        pieces = [np.arange(b * self._block, end, dtype=self._number) for b, end in zip(blocks, ends, strict=True)]
        rows = np.concatenate(pieces)
        if self.shuffle:
            np.random.default_rng(seed).shuffle(rows)
        return rows


class _Kept:
    """Rows with a label 1, and a fresh sample of the others for each epoch; always the same number."""

    def __init__(self, store: Store, rate: float, seed: int) -> None:
        labels = store.targets.get("labels")
        if labels is None:
            raise DataError("negative_rate needs labels, and the store has none; encode the rows with labels.")
        clicked = (labels != 0).any(1)
        self.clicks, self.others, self.seed = np.flatnonzero(clicked), np.flatnonzero(~clicked), seed
        self.drawn = min(len(self.others), max(1, round(rate * len(self.others))))
        self.rows = len(self.clicks) + self.drawn

    def draw(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self.seed, epoch, 0xCE])
        chosen = random.choice(len(self.others), self.drawn, replace=False, shuffle=False)
        return np.sort(np.concatenate([self.clicks, self.others[chosen]]))


def bytes_per_row(store: Store) -> int:
    """Return about how many bytes one row of the store takes."""
    rows = store.slice(0, 64)
    whole = [rows.ids, rows.numeric, *rows.bags.values(), *rows.vectors.values(), *rows.histories.values()]
    return math.ceil(sum(array.nbytes for array in whole) / max(len(rows), 1))
