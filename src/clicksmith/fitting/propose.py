"""A schema for any data that can be opened. It needs no torch."""

from typing import Any

from clicksmith.encode.source import open_source
from clicksmith.schema.infer import Proposal, infer


def propose(data: Any, label: str | None = None) -> Proposal:
    """Propose a schema from rows spread over all of the data: a file, several, or a frame (see `Source.sample`).

    Raises SchemaError: no label is named and none is found. DataError: the data cannot be read.
    """
    source = open_source(data)
    return infer(source.sample(), label=label, rows=source.rows_hint)
