"""Fields as a store and as a table."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store


def store_of(codes: NDArray[np.integer], labels: NDArray[np.int64], **targets: NDArray) -> Store:
    """Return a store whose field i is named f<i>; ids are codes + 2."""
    names = [f"f{i}" for i in range(codes.shape[1])]
    slots = tuple(Slot(name, int(codes[:, i].max()) + 3) for i, name in enumerate(names))
    layout = Layout(slots=slots, ids=tuple(IdColumn(n, n) for n in names), labels=("click",))
    ids = (codes + 2).astype(np.int32)
    nothing = np.zeros((len(ids), 0), np.float32)
    return Store.of(EncodedRows(ids, nothing, labels=labels[:, None].astype(np.float32), **targets), layout)


def frame_of(codes: NDArray[np.integer], labels: NDArray[np.int64]) -> pl.DataFrame:
    """Return the same as a table of whole numbers."""
    return pl.DataFrame({**{f"f{i}": codes[:, i] for i in range(codes.shape[1])}, "click": labels})
