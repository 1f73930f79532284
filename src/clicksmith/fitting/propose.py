"""A schema for any data that can be opened. It needs no torch."""

from typing import Any

import polars as pl

from clicksmith.encode.source import open_source
from clicksmith.schema.infer import Proposal, infer

LOOKED_AT = 300_000
"""Rows that a proposal is made from."""

READ = 3_000_000
"""Rows that are read at most, to take those from."""


def propose(data: Any, label: str | None = None) -> Proposal:
    """Propose a schema from rows spread evenly over a file, several, or a frame; of large data, over its beginning.

    Raises SchemaError: no label is named and none is found. DataError: the data cannot be read.
    """
    source = open_source(data)
    frames: list[pl.DataFrame] = []
    every = max(1, -(-min(source.rows_hint, READ) // LOOKED_AT))
    read = 0
    for frame in source.batches():
        frames.append(frame.gather_every(every, offset=-read % every))
        read += frame.height
        if read >= READ:
            break
    return infer(pl.concat(frames), label=label, rows=source.rows_hint)
