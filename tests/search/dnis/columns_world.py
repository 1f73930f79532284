"""Two fields whose frequent values interact in more directions than their rare ones."""

import numpy as np
import polars as pl

from clicksmith.schema import Categorical, Label, Schema

SCHEMA = Schema(fields=(Categorical("a"), Categorical("b")), label=Label("click"))
QUICK = {"batch_size": 512, "learning_rate": 0.02, "monitor": "auc", "patience": None, "table_l2": 1e-4}
RANKS = np.repeat([4, 2, 1, 0], [20, 20, 20, 40])
"""How many of the planted directions a value has a say in, the most frequent value first."""


def planted(rows: int, seed: int = 0) -> pl.DataFrame:
    """Two fields that interact in four directions; a frequent value has a say in more of them, a rare one in none."""
    truth, random = np.random.default_rng(7), np.random.default_rng(seed)
    weights = 1.0 / np.arange(10, 110)
    a, b = (random.choice(100, rows, p=weights / weights.sum()) for _ in range(2))
    left, right = (truth.choice([-1.0, 1.0], (100, 4)) * (np.arange(4) < RANKS[:, None]) for _ in range(2))
    click = random.random(rows) < 1 / (1 + np.exp(-(left[a] * right[b]).sum(1)))
    return pl.DataFrame({"a": [f"v{x:03}" for x in a], "b": [f"v{x:03}" for x in b], "click": click.astype(int)})
