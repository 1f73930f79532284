"""A schema for any data that can be opened. It needs no torch."""

from typing import Any

import polars as pl

from clicksmith.encode.source import open_source
from clicksmith.schema.infer import Proposal, infer

LOOKED_AT = 300_000
"""Rows read to propose a schema."""


def propose(data: Any, label: str | None = None) -> Proposal:
    """Propose a schema from the first `LOOKED_AT` rows of a file, several, or a frame.

    Raises SchemaError: no label is named and none is found. DataError: the data cannot be read.
    """
    source = open_source(data)
    frames: list[pl.DataFrame] = []
    for frame in source.batches():
        frames.append(frame)
        if sum(f.height for f in frames) >= LOOKED_AT:
            break
    return infer(pl.concat(frames), label=label, rows=source.rows_hint)
