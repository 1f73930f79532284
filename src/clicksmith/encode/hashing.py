"""The hash of a value: the same number on every machine and in every version, in C (`kernels/encode.c`) and here.

h = (bytes + 1) * K1
for each 8-byte little-endian word w, the last filled with zeros:  h = (h ^ w) * K2;  h ^= h >> 32
h *= K2;  h ^= h >> 29                                             (all modulo 2^64)
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.native import LIBRARY, at
from clicksmith.encode.texts import Cells, Texts, texts_of

_K1, _K2, _ALL = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, (1 << 64) - 1


def hash64(text: str) -> int:
    """Return the hash of one text, 0 <= h < 2^64."""
    raw = text.encode()
    h = (len(raw) + 1) * _K1 & _ALL
    for i in range(0, len(raw), 8):
        h = (h ^ int.from_bytes(raw[i : i + 8], "little")) * _K2 & _ALL
        h ^= h >> 32
    h = h * _K2 & _ALL
    return h ^ h >> 29


def hashes(cells: Cells) -> NDArray[np.uint64]:
    """Return the hash of every cell, 0 where there is nothing."""
    out = np.zeros(len(cells), np.uint64)
    if LIBRARY is not None:
        texts = cells if isinstance(cells, Texts) else texts_of(cells)
        stride = texts.starts.strides[0] // 8 if len(texts) else 1
        LIBRARY.enc_hash(at(texts.text), at(texts.starts), at(texts.lens), len(texts), stride, at(out))
        return out
    if isinstance(cells, pl.Series):
        values = cells.unique().drop_nulls()
        known = dict(zip(values.to_list(), (hash64(v) for v in values.to_list()), strict=True))
        return np.array([0 if c is None else known[c] for c in cells.to_list()], np.uint64)
    return np.array([0 if c is None else hash64(c) for c in (cells[i] for i in range(len(cells)))], np.uint64)


def splitmix64(counter: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return the SplitMix64 output of each counter under a seed: 64 well-mixed bits (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = counter + splitmix64_step(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def splitmix64_step(seed: int) -> np.uint64:
    """Return where the counters of a seed begin: seeds lie far apart."""
    mixed = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "little")
    return np.uint64(mixed)
