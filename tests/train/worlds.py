"""Small stores with something to learn, for the tests of training."""

import numpy as np

from clicksmith.encode.layout import IdColumn, Layout, NumericColumn, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store

SIZES = {"user": 40, "ad": 20, "hour": 7}
LAYOUT = Layout(
    slots=tuple(Slot(name, rows) for name, rows in SIZES.items()),
    ids=(IdColumn("user", "user", "user"), IdColumn("ad", "ad", "item"), IdColumn("hour", "hour")),
    numeric=(NumericColumn("price"),),
    order=("user", "ad", "hour", "price"),
)


def clicks(rows: int, *, seed: int = 0, weight: bool = False, group: bool = False) -> Store:
    """Return rows whose log odds are a sum over ids plus the price."""
    taste = np.random.default_rng(7).normal(0, 1, (3, 40))
    random = np.random.default_rng(seed)
    ids = np.stack([random.integers(1, size, rows) for size in SIZES.values()], 1).astype(np.int32)
    price = random.normal(size=(rows, 1)).astype(np.float32)
    odds = sum(taste[i, ids[:, i]] for i in range(3)) + price[:, 0]
    labels = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float32)[:, None]
    found = EncodedRows(
        ids,
        price,
        labels=labels,
        weight=random.random(rows).astype(np.float32) if weight else None,
        group=ids[:, 0].astype(np.int64) if group else None,
    )
    return Store.of(found, LAYOUT)
