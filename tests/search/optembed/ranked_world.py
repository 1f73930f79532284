"""A planted world: fields of latent rank 1 to 8 that all meet the user, and rows of noise."""

import numpy as np

from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store

RANKS = (3, 8, 1, 6, 4, 2, 7, 5)
USERS, VALUES = 40, 30


def ranked(rows: int, seed: int, *, scale: float = 1.2) -> Store:
    """Return rows with logit = sum over fields of <user's first r latents, value's first r latents>, r the field's."""
    truth = np.random.default_rng(5)
    user = truth.normal(0, 1, (USERS, max(RANKS)))
    value = truth.normal(0, 1, (len(RANKS), VALUES, max(RANKS)))
    for f, rank in enumerate(RANKS):
        value[f, :, rank:] = 0.0
    value *= scale / np.sqrt(np.mean(RANKS) * len(RANKS))
    random = np.random.default_rng(seed)
    ids = np.stack([random.integers(0, n, rows) for n in (USERS, *[VALUES] * len(RANKS))], 1)
    odds = np.zeros(rows)
    for f in range(len(RANKS)):
        odds += (user[ids[:, 0]] * value[f, ids[:, 1 + f]]).sum(1)
    labels = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.float32)[:, None]
    names = ("user", *(f"rank{rank}" for rank in RANKS))
    sizes = (USERS, *[VALUES] * len(RANKS))
    layout = Layout(
        slots=tuple(Slot(name, n + 2) for name, n in zip(names, sizes, strict=True)),
        ids=tuple(IdColumn(name, name) for name in names),
        order=names,
    )
    numeric = np.zeros((rows, 0), np.float32)
    return Store.of(EncodedRows((ids + 2).astype(np.int32), numeric, labels=labels), layout)
