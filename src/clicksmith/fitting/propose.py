"""A schema for any data that can be opened. It needs no torch."""

from typing import Any

from clicksmith.encode.recipe import uncut
from clicksmith.encode.source import open_source
from clicksmith.errors import SchemaError
from clicksmith.schema.infer import Proposal, infer


def propose(data: Any, label: str | None = None) -> Proposal:
    """Propose a schema from rows spread over all of the data: a file, several, or a frame (see `Source.sample`).

    Raises SchemaError: no label is named and none is found. DataError: the data cannot be read.
    """
    source = open_source(data)
    try:
        return infer(source.sample(), label=label, rows=source.rows_hint)
    except SchemaError as error:
        raise SchemaError(f"{source.name}: {error}{uncut(source.columns)}") from error
