"""Eleven columns of which the answer is known: lines in the picture that a field must be above, or below."""

from __future__ import annotations

from functools import partial

import numpy as np

from clicksmith.encode.rows import EncodedRows
from clicksmith.rank.views import BINS, Codes, View, mix

RANDOM = (2, 20, 200, 2_000, 10_000, 50_000)
"""Numbers of values of the random columns."""
STEPS = 1 << 20
"""The row number, and its hash, have at most so many values."""
LABEL = "(the label)"


def controls(rows: int, label: int, seed: int) -> list[View]:
    """Return the eleven: constant, noise, random ones, row number, row hash, the label. Names are in brackets."""
    found = [
        View("(constant)", "values", 1, _constant),
        View("(noise)", "bins", BINS, partial(_random, BINS, seed)),
        View("(row number)", "values", min(rows, STEPS), partial(_row_number, rows)),
        View("(row hash)", "values", STEPS, _row_hash),
        View(LABEL, "values", 2, partial(_label, label)),
    ]
    return found + [
        View(f"(random of {size:,})", "values", size, partial(_random, size, seed + place + 1))
        for place, size in enumerate(RANDOM)
    ]


def _numbers(rows: EncodedRows, first: int) -> Codes:
    return np.arange(first, first + len(rows), dtype=np.int64)


def _constant(rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001 - see Read
    return np.zeros(len(rows), np.int64)


def _random(size: int, seed: int, rows: EncodedRows, first: int) -> Codes:
    """Return a random code that depends on seed and row number alone, so that any piece gives the same."""
    mixed = mix(_numbers(rows, first).astype(np.uint64) ^ np.uint64(((seed + 1) << 44) % 2**64))
    return ((mixed >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)).astype(np.int64)


def _row_number(whole: int, rows: EncodedRows, first: int) -> Codes:
    numbers = _numbers(rows, first)
    return numbers if whole <= STEPS else numbers * STEPS // whole


def _row_hash(rows: EncodedRows, first: int) -> Codes:
    return (mix(_numbers(rows, first)) >> np.uint64(44)).astype(np.int64)


def _label(label: int, rows: EncodedRows, first: int) -> Codes:  # noqa: ARG001
    assert rows.labels is not None
    return rows.labels[:, label].astype(np.int64)
