"""Columns that should not be trusted: those that give the label away, never repeat, never change, copy another, or are
numbers but for a few cells.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.schema.profile import NUMBER, ColumnProfile, numbers_of, texts_of

LEAK = 0.99
"""AUC of one column alone, on rows it was not fitted on, from which it is suspected."""
NUMERIC = 0.9
"""Share of a text column's cells that are numbers, from which the others are suspected."""
_LEAST = 20
"""Clicks (and rows without) that are needed to judge."""


class Suspect(msgspec.Struct, frozen=True):
    """A column to look at before training, with the reason in words."""

    column: str
    kind: Literal["leak", "row id", "constant", "duplicate", "text", "mixed"]
    text: str
    strength: float | None = None
    """AUC of the column alone, for a leak."""


def leaks(frame: pl.DataFrame, label: NDArray[np.bool_], columns: tuple[ColumnProfile, ...]) -> list[Suspect]:
    """Return the columns that (nearly) determine the label, told on rows that were not counted."""
    if min(label.sum(), len(label) - label.sum()) < _LEAST:
        return []
    found: list[Suspect] = []
    for column in columns:
        if column.kind in ("empty", "vector", "list"):
            continue
        strength = single_auc(_codes(frame.get_column(column.name), column), label)
        if strength >= LEAK:
            words = "determines" if strength > 0.9999 else "nearly determines"
            found.append(
                Suspect(
                    column.name,
                    "leak",
                    f"'{column.name}' alone {words} the label (AUC {strength:.4f}); "
                    "if it is known only after the click, "
                    "leave it out.",
                    strength,
                )
            )
    return found


def duplicates(frame: pl.DataFrame, names: list[str]) -> list[Suspect]:
    """Return the columns whose cells equal those of an earlier one."""
    seen: dict[int, list[str]] = {}
    found: list[Suspect] = []
    for name in names:
        texts = texts_of(frame.get_column(name))
        key = hash((texts.hash(0).sum(), texts.null_count()))
        same = [
            other for other in seen.get(key, []) if texts.equals(texts_of(frame.get_column(other)), check_names=False)
        ]
        if same:
            found.append(
                Suspect(name, "duplicate", f"'{name}' holds the same cells as '{same[0]}'; one of them is enough.")
            )
        seen.setdefault(key, []).append(name)
    return found


def strays(cells: pl.Series, column: ColumnProfile) -> Suspect | None:
    """Return what is to be said of a text column that holds numbers in nearly all cells, or None."""
    texts = texts_of(cells).drop_nulls().str.strip_chars()
    odd = texts.filter(~texts.str.contains(NUMBER))
    if len(odd) > (1 - NUMERIC) * column.filled or column.unique <= _LEAST:
        return None
    text = (
        f"'{column.name}' holds numbers in all but {len(odd)} of {column.filled} cells, for example '{odd[0]}', so it "
        "is not taken as numbers. If it is a quantity, empty or mend those cells."
    )
    return Suspect(column.name, "mixed", text)


def single_auc(codes: NDArray[np.int64], label: NDArray[np.bool_]) -> float:
    """Return the AUC of one column's values: the mean label per value on half the rows, measured on the other half."""
    half = (np.arange(len(codes), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63) == 0
    size = int(codes.max(initial=0)) + 1
    clicks = np.bincount(codes[half], label[half], size)
    seen = np.bincount(codes[half], minlength=size)
    prior = label[half].mean() if half.any() else 0.0
    score = ((clicks + prior) / (seen + 1))[codes[~half]]
    return _auc(score, label[~half])


def _codes(series: pl.Series, column: ColumnProfile) -> NDArray[np.int64]:
    """Number the values of a column; numbers with many values are cut into 256 bins of equal counts."""
    if column.kind in ("integer", "number") and column.unique > 256:
        numbers = numbers_of(series).to_numpy().astype(np.float64)
        there = numbers[~np.isnan(numbers)]
        edges = np.unique(np.quantile(there, np.linspace(0, 1, 257)[1:-1]))
        codes = np.searchsorted(edges, np.nan_to_num(numbers, nan=0.0), side="right") + 1
        return np.where(np.isnan(numbers), 0, codes).astype(np.int64)
    return texts_of(series).fill_null("").rank("dense").to_numpy().astype(np.int64) - 1


def _auc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return 0.5
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))
