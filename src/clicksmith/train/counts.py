"""How often each id occurs in training rows: what mini-batch-aware L2 divides by."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clicksmith.encode.layout import DOMAIN
from clicksmith.encode.store import Store

PIECE = 1 << 18


def id_counts(store: Store) -> dict[str, Tensor]:
    """Return slot -> occurrences of each id [rows] in all columns of the slot, and of the domains."""
    layout = store.layout
    counts = {slot.name: np.zeros(slot.rows, np.int64) for slot in layout.slots}
    if layout.domains:
        counts[DOMAIN] = np.zeros(layout.domains, np.int64)
    for start in range(0, store.rows, PIECE):
        rows = store.slice(start, start + PIECE)
        for i, column in enumerate(layout.ids):
            _add(counts[column.slot], rows.ids[:, i])
        for column in layout.bags:
            _add(counts[column.slot], rows.bags[column.name])
        for history in layout.histories:
            ids = rows.histories[history.name]
            ids = ids if rows.owner is None else ids[rows.owner]
            for i, column in enumerate(history.columns):
                _add(counts[column.slot], ids[..., i])
        if rows.domain is not None and layout.domains:
            _add(counts[DOMAIN], rows.domain)
    return {name: torch.from_numpy(count) for name, count in counts.items()}


def _add(into: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
    ids = ids.ravel()
    into += np.bincount(ids if ids.size == 0 or ids.min() >= 0 else ids[ids >= 0], minlength=len(into))
