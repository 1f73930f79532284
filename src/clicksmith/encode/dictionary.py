"""Numbering values in the order of first appearance, and counting them: compiled, or with polars without the library.

A code is the number plus one: 0 is "nothing here", -1 a value that is not known. Both ways give the same codes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.hashing import hashes
from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.texts import Cells, Packed, Texts, pack, texts_of

COUNT, NUMBER, FIND = 1, 2, 0
"""What to do with cells: number new ones and count all; number new ones; only find."""


class Dictionary(Protocol):
    """Values, their numbers and counts."""

    def __len__(self) -> int:
        """Return how many values are known."""
        ...

    def codes(self, cells: Cells, grow: int, out: NDArray[np.int32]) -> None:
        """Write the code of every cell to `out`, a view of any stride."""
        ...

    def counts(self) -> NDArray[np.int64]:
        """Return the count of each value, by number."""
        ...

    def weigh(self, codes: NDArray[np.int32], weights: NDArray[np.int64]) -> None:
        """Add a weight to the count of each code; codes below 1 are passed over."""
        ...

    def load(self, values: Packed, counts: NDArray[np.int64]) -> None:
        """Add values with counts, numbering those that are new."""
        ...

    def rank(self, least: int, first: int = 0) -> NDArray[np.int32]:
        """Return the numbers from `first` on of values counted `least` times or more: falling count, then bytes."""
        ...

    def pick(self, numbers: NDArray[np.int32]) -> Packed:
        """Return the values with these numbers."""
        ...

    def clear(self) -> None:
        """Forget everything, giving the memory back."""
        ...


class CompiledDictionary:
    """A hash table in C."""

    def __init__(self) -> None:
        assert LIBRARY is not None
        self._library = LIBRARY
        self.handle = 0
        self.clear()

    def __del__(self) -> None:
        self._library.enc_free(self.handle)

    def clear(self) -> None:
        """See `Dictionary`."""
        self._library.enc_free(self.handle)
        self.handle: int = self._library.enc_new() or 0
        if not self.handle:
            raise MemoryError("no memory for a dictionary")

    def __len__(self) -> int:
        return self._library.enc_size(self.handle)

    def codes(self, cells: Cells, grow: int, out: NDArray[np.int32]) -> None:
        """See `Dictionary`."""
        texts = cells if isinstance(cells, Texts) else texts_of(cells)
        n = len(texts)
        if n == 0:
            return
        step, stride = out.strides[0] // 4, texts.lens.strides[0] // 4
        failed = self._library.enc_codes(
            self.handle, at(texts.text), at(texts.starts), at(texts.lens), n, stride, at(out), step, grow
        )
        if failed:
            raise MemoryError(f"no memory for a dictionary of more than {len(self):,} values")

    def counts(self) -> NDArray[np.int64]:
        """See `Dictionary`."""
        out = np.empty(len(self), np.int64)
        self._library.enc_counts(self.handle, at(out))
        return out

    def weigh(self, codes: NDArray[np.int32], weights: NDArray[np.int64]) -> None:
        """See `Dictionary`."""
        codes, weights = np.ascontiguousarray(codes), np.ascontiguousarray(weights, np.int64)
        self._library.enc_weigh(self.handle, at(codes), at(weights), len(codes))

    def load(self, values: Packed, counts: NDArray[np.int64]) -> None:
        """See `Dictionary`."""
        text, ends = np.ascontiguousarray(values.text), np.ascontiguousarray(values.ends)
        counts = np.ascontiguousarray(counts, np.int64)
        if self._library.enc_load(self.handle, at(text), at(ends), at(counts), len(values)):
            raise MemoryError(f"no memory for a dictionary of {len(values):,} values")

    def rank(self, least: int, first: int = 0) -> NDArray[np.int32]:
        """See `Dictionary`."""
        out = np.empty(max(0, len(self) - first), np.int32)
        n = self._library.enc_rank(self.handle, first, least, at(out))
        if n < 0:
            raise MemoryError(f"no memory to sort {len(out):,} values")
        return out[:n].copy()

    def pick(self, numbers: NDArray[np.int32]) -> Packed:
        """See `Dictionary`."""
        numbers = np.ascontiguousarray(numbers)
        text = np.empty(self._library.enc_pick_bytes(self.handle, at(numbers), len(numbers)), np.uint8)
        ends = np.empty(len(numbers), np.int64)
        self._library.enc_pick(self.handle, at(numbers), len(numbers), at(text), at(ends))
        return Packed(text, ends)


class PlainDictionary:
    """A Python dict; polars finds the distinct values of a column first."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """See `Dictionary`."""
        self._numbers: dict[str, int] = {}
        self._counts = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    def codes(self, cells: Cells, grow: int, out: NDArray[np.int32]) -> None:
        """See `Dictionary`."""
        if isinstance(cells, pl.Series):
            values = cells.unique(maintain_order=True).drop_nulls()
            local = cells.cast(pl.Enum(values)).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
            known = np.append(self._known(values.to_list(), grow), np.int32(0))
            out[:] = known[local]
        else:
            texts = [None if isinstance(cells, Texts) and cells.lens[i] < 0 else cells[i] for i in range(len(cells))]
            distinct = dict.fromkeys(t for t in texts if t is not None)
            known = dict(zip(distinct, self._known(list(distinct), grow).tolist(), strict=True))
            out[:] = [0 if t is None else known[t] for t in texts]
        if grow == COUNT:
            self._counts += np.bincount(out[out > 0] - 1, minlength=len(self))

    def _known(self, values: list[str], grow: int) -> NDArray[np.int32]:
        numbers = self._numbers
        if grow:
            found = [numbers.setdefault(v, len(numbers)) for v in values]
            self._counts = np.concatenate([self._counts, np.zeros(len(numbers) - len(self._counts), np.int64)])
            return np.array(found, np.int32) + np.int32(1)
        return np.array([numbers.get(v, -2) for v in values], np.int32) + np.int32(1)

    def counts(self) -> NDArray[np.int64]:
        """See `Dictionary`."""
        return self._counts.copy()

    def weigh(self, codes: NDArray[np.int32], weights: NDArray[np.int64]) -> None:
        """See `Dictionary`."""
        np.add.at(self._counts, codes[codes > 0] - 1, weights[codes > 0])

    def load(self, values: Packed, counts: NDArray[np.int64]) -> None:
        """See `Dictionary`."""
        codes = self._known(values.to_list(), NUMBER)
        self.weigh(codes, np.asarray(counts, np.int64))

    def rank(self, least: int, first: int = 0) -> NDArray[np.int32]:
        """See `Dictionary`."""
        counts = self._counts.tolist()
        kept = [(-counts[i], v.encode(), i) for v, i in self._numbers.items() if i >= first and counts[i] >= least]
        return np.array([i for _, _, i in sorted(kept)], np.int32)

    def pick(self, numbers: NDArray[np.int32]) -> Packed:
        """See `Dictionary`."""
        values = list(self._numbers)
        return pack([values[i] for i in numbers.tolist()])


class Buckets:
    """Hashes instead of numbers: the "number" of a value is its bucket."""

    def __init__(self, buckets: int) -> None:
        self.buckets = buckets
        self.clear()

    def clear(self) -> None:
        """See `Dictionary`."""
        self._counts = np.zeros(self.buckets, np.int64)

    def __len__(self) -> int:
        return self.buckets

    def codes(self, cells: Cells, grow: int, out: NDArray[np.int32]) -> None:
        """See `Dictionary`."""
        out[:] = (hashes(cells) % np.uint64(self.buckets)).astype(np.int32) + 1
        if isinstance(cells, Texts):
            out[cells.lens < 0] = 0
        elif isinstance(cells, pl.Series):
            out[cells.is_null().to_numpy()] = 0
        else:
            out[[i for i, cell in enumerate(cells) if cell is None]] = 0
        if grow == COUNT:
            self._counts += np.bincount(out[out > 0] - 1, minlength=self.buckets)

    def counts(self) -> NDArray[np.int64]:
        """See `Dictionary`."""
        return self._counts.copy()

    def weigh(self, codes: NDArray[np.int32], weights: NDArray[np.int64]) -> None:
        """See `Dictionary`."""
        np.add.at(self._counts, codes[codes > 0] - 1, weights[codes > 0])

    def load(self, values: Packed, counts: NDArray[np.int64]) -> None:  # noqa: ARG002 - hashes have no values
        """See `Dictionary`."""
        self._counts = self._counts + counts

    def rank(self, least: int, first: int = 0) -> NDArray[np.int32]:  # noqa: ARG002 - every bucket stays
        """See `Dictionary`."""
        return np.arange(first, self.buckets, dtype=np.int32)

    def pick(self, numbers: NDArray[np.int32]) -> Packed:
        """See `Dictionary`."""
        return Packed(np.zeros(0, np.uint8), np.zeros(len(numbers), np.int64))


def new_dictionary(buckets: int | None = None) -> Dictionary:
    """Return an empty dictionary, compiled where there is a library."""
    if buckets is not None:
        return Buckets(buckets)
    return PlainDictionary() if LIBRARY is None else CompiledDictionary()
