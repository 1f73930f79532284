"""Planted fields: a tenth of them move the click rate, by value; all have skewed values, 2 to 10,000 of them."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store


def planted(
    rows: int = 16_384, fields: int = 200, seed: int = 0, effect: float = 0.25
) -> tuple[NDArray[np.int64], NDArray[np.int64], set[int]]:
    """Return codes [rows, fields], labels [rows] and the relevant fields."""
    random = np.random.default_rng(seed)
    codes, logit = np.empty((rows, fields), np.int64), np.full(rows, -1.5)
    relevant = set(random.permutation(fields)[: fields // 10].tolist())
    for f in range(fields):
        size = round(float(np.exp(random.uniform(np.log(2), np.log(10_000)))))
        often = 1 / np.arange(1, size + 1) ** random.uniform(0.6, 1.2)
        codes[:, f] = random.choice(size, rows, p=often / often.sum())
        if f in relevant:
            logit += random.normal(0, effect, size)[codes[:, f]]
    return codes, (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64), relevant


def store_of(codes: NDArray[np.int64], labels: NDArray[np.int64], **targets: NDArray) -> Store:
    """Return a store whose field i is named f<i>; ids are codes + 2."""
    names = [f"f{i}" for i in range(codes.shape[1])]
    slots = tuple(Slot(name, int(codes[:, i].max()) + 3) for i, name in enumerate(names))
    layout = Layout(slots=slots, ids=tuple(IdColumn(n, n) for n in names), labels=("click",))
    ids = (codes + 2).astype(np.int32)
    nothing = np.zeros((len(ids), 0), np.float32)
    return Store.of(EncodedRows(ids, nothing, labels=labels[:, None].astype(np.float32), **targets), layout)


def frame_of(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> pl.DataFrame:
    """Return the same as a table of whole numbers."""
    return pl.DataFrame({**{f"f{i}": codes[:, i] for i in range(codes.shape[1])}, "click": labels})
