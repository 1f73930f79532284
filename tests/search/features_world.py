"""Six fields: of three the even values say something, all others are noise."""

import numpy as np
import polars as pl

from clicksmith.schema import Categorical, Label, Schema

NAMES = tuple(f"f{i}" for i in range(6))
SCHEMA = Schema(fields=tuple(Categorical(name) for name in NAMES), label=Label("click"))


def planted(rows: int, seed: int = 0, values: int = 100) -> pl.DataFrame:
    """Fields 0-2: the even values say something, the odd ones nothing; fields 3-5 are noise. Zipf-like counts."""
    truth, random = np.random.default_rng(7), np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, values + 1) ** 0.7
    ids = np.stack([random.choice(values, rows, p=weights / weights.sum()) for _ in NAMES], 1)
    effects = truth.choice([-1.2, 1.2], (3, values)) * (np.arange(values) % 2 == 0)
    logit = sum(effects[f][ids[:, f]] for f in range(3))
    click = random.random(rows) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {name: [f"v{x:03}" for x in ids[:, i]] for i, name in enumerate(NAMES)} | {"click": click.astype(int)}
    )
