"""How often each id occurs in training rows: what mini-batch-aware L2 divides by, and how well a row is known."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clicksmith.encode.layout import DOMAIN, PADDING, UNSEEN
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


def rarest_counts(train: Store, rows: Store) -> NDArray[np.int32]:
    """Return how often training rows hold the rarest id of each row's fields and bags [rows]; 0 if one is unseen."""
    counts = {name: found.numpy() for name, found in id_counts(train).items()}
    for found in counts.values():
        found[UNSEEN] = 0
    layout = rows.layout
    least = np.full(rows.rows, train.rows, np.int64)
    for start in range(0, rows.rows, PIECE):
        piece = rows.slice(start, start + PIECE)
        here = least[start : start + len(piece)]
        columns = [(column.slot, piece.ids[:, i : i + 1]) for i, column in enumerate(layout.ids)]
        columns += [(column.slot, piece.bags[column.name]) for column in layout.bags]
        for slot, ids in columns:
            known = np.where(ids > PADDING, counts[slot][ids], train.rows)
            np.minimum(here, known.min(1, initial=train.rows), out=here)
    return np.minimum(least, np.iinfo(np.int32).max).astype(np.int32)


def _add(into: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
    ids = ids.ravel()
    into += np.bincount(ids if ids.size == 0 or ids.min() >= 0 else ids[ids >= 0], minlength=len(into))
