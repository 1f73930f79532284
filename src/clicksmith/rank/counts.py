"""Rows and clicks of every value of every field: one pass over encoded rows, additive over any parts of them.

Counts are whole numbers (sums of weights where rows have weights), the same for any order of rows, pieces or machines.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.delimited import threads
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, DataError
from clicksmith.files import write_bytes
from clicksmith.rank.views import Codes, View, pieces

Vector = NDArray[Any]
"""int64, or float64 where rows have weights."""


@dataclass
class Counts:
    """What was counted.

    Shape:
        by: view key -> (rows [size], clicks [size]); views may be larger in one part than in another
    """

    rows: int = 0
    total: float = 0.0
    """Sum of weights; the number of rows where there are none."""
    clicks: float = 0.0
    by: dict[str, tuple[Vector, Vector]] = field(default_factory=dict[str, tuple[Vector, Vector]])

    def merge(self, other: Counts) -> Counts:
        """Return the counts of both parts together. Both must be of one encoder."""
        if set(self.by) != set(other.by) or any(len(v[0]) != len(other.by[k][0]) for k, v in self.by.items()):
            odd = sorted(k.partition("|")[0] for k in set(self.by) ^ set(other.by)) or ["their numbers of values"]
            raise DataError(
                f"these counts are of rows encoded in two ways (they differ in {odd[0]!r}) and cannot be added; "
                "encode all parts with one encoder."
            )
        by = {k: (r + other.by[k][0], c + other.by[k][1]) for k, (r, c) in self.by.items()}
        return Counts(self.rows + other.rows, self.total + other.total, self.clicks + other.clicks, by)

    def save(self, path: str | Path) -> None:
        """Write the counts as one file."""
        arrays = {f"rows|{k}": r for k, (r, _) in self.by.items()} | {f"clicks|{k}": c for k, (_, c) in self.by.items()}
        memory = BytesIO()
        whole = np.array([self.rows, self.total, self.clicks])
        np.savez_compressed(memory, whole=whole, **arrays)  # type: ignore[arg-type] - no array is named as an option
        write_bytes(Path(path), memory.getvalue())

    @staticmethod
    def load(path: str | Path) -> Counts:
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                keys = [name.removeprefix("rows|") for name in arrays.files if name.startswith("rows|")]
                by = {key: (arrays[f"rows|{key}"], arrays[f"clicks|{key}"]) for key in keys}
                rows, total, clicks = arrays["whole"].tolist()
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise ArtifactError(f"'{path}' does not hold counts: {error}. Count the rows again.") from error
        return Counts(int(rows), total, clicks, by)


def count(
    store: Store,
    views: Sequence[View],
    *,
    label: int = 0,
    start: int = 0,
    stop: int | None = None,
    order: NDArray[np.int64] | None = None,
) -> Counts:
    """Count the rows start <= row < stop of a store, piece by piece.

    `order` [rows] gives each row the label and weight of another: a permutation breaks whatever they had to do with
    the fields.

    Raises DataError: a label that is missing or not 0 or 1, a weight that is not positive, a negative id.
    """
    found = Counts()
    targets = store.targets
    with ThreadPoolExecutor(threads()) as pool:
        for rows, first in pieces(store, start, stop):
            at = slice(first, first + len(rows)) if order is None else order[first : first + len(rows)]
            clicks, weight = checked(targets, at, first, label)
            if rows.ids.size and int(rows.ids.min()) < 0:
                column = store.layout.ids[int(np.argmin(rows.ids.min(0)))].name
                raise DataError(f"field '{column}' has a negative id; ids are 0 (padding), 1 (unseen) and up.")
            _add(found, rows, first, views, clicks, weight, pool)
    return found


def checked(
    targets: dict[str, Vector], at: slice | NDArray[np.int64], first: int, label: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return labels and weights of rows, checked."""
    if "labels" not in targets:
        raise DataError("these rows were encoded without labels; encode them with labels=True to rank by one.")
    values = targets["labels"][at, label]
    bad = np.flatnonzero(~((values == 0) | (values == 1)))
    if len(bad):
        raise DataError(
            f"row {first + int(bad[0]) + 1}: the label is {values[bad[0]]:g}; fields are ranked by a label of 0 and 1. "
            "Drop rows without a label; name the value that means 1 with Label(..., positive=...)."
        )
    if "weight" not in targets:
        return values.astype(np.int64), None
    weight = targets["weight"][at].astype(np.float64)
    wrong = np.flatnonzero(~(weight > 0))
    if len(wrong):
        raise DataError(
            f"row {first + int(wrong[0]) + 1}: the weight is {weight[wrong[0]]:g}; a row that counts has a weight "
            "above 0. Drop the row, or leave the weight out of the schema."
        )
    return values.astype(np.int64), weight


def _add(
    found: Counts,
    rows: EncodedRows,
    first: int,
    views: Sequence[View],
    clicks: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
    pool: ThreadPoolExecutor,
) -> None:
    found.rows += len(rows)
    found.total += len(rows) if weight is None else float(weight.sum())
    found.clicks += float(clicks.sum()) if weight is None else float((clicks * weight).sum())
    kind = np.int64 if weight is None else np.float64
    for view in views:
        if view.key not in found.by:
            found.by[view.key] = (np.zeros(view.size, kind), np.zeros(view.size, kind))

    def add(view: View) -> None:
        codes, label, weights = _flat(view.read(rows, first), clicks, weight)
        _tally(found.by[view.key], codes * 2 + label, weights)

    list(pool.map(add, views))  # numpy counts without the interpreter; each view has sums of its own


def _tally(have: tuple[Vector, Vector], both: Codes, weight: NDArray[np.float64] | None) -> None:
    """Add codes that are 2 value + label. Many values are added by name, so that no piece costs what all values do."""
    rows, clicks = have
    if len(rows) <= 2 * len(both):
        sums = np.bincount(both, weight, 2 * len(rows)).reshape(-1, 2).astype(rows.dtype, copy=False)
        rows += sums.sum(1)
        clicks += sums[:, 1]
    else:
        met, place = np.unique(both, return_inverse=True)
        sums = np.bincount(place, weight, len(met)).astype(rows.dtype, copy=False)
        np.add.at(rows, met >> 1, sums)
        clicks[met[met & 1 == 1] >> 1] += sums[met & 1 == 1]


def _flat(
    codes: Codes, clicks: NDArray[np.int64], weight: NDArray[np.float64] | None
) -> tuple[Codes, NDArray[np.int64], NDArray[np.float64] | None]:
    if codes.ndim == 1:
        return codes, clicks, weight
    there = codes >= 0
    row = np.nonzero(there)[0]
    return codes[there], clicks[row], None if weight is None else weight[row]
