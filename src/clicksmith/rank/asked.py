"""From raw rows to encoded ones that suit a ranking: every column but the label, read as what it may be.

A ranking reads more generously than a model: columns that `fit` would leave out are ranked too, whole numbers are taken
as names and as quantities, and every value counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.encode.source import Source, open_source
from clicksmith.errors import UsageError
from clicksmith.names import unknown
from clicksmith.rank.views import BINS
from clicksmith.schema.columns import Bag, Categorical, Field, Multimodal, Numeric
from clicksmith.schema.infer import Proposal, infer
from clicksmith.schema.profile import ColumnProfile
from clicksmith.schema.schema import Schema

LOOKED_AT = 5_000
"""Rows that say what the columns are; the ranking itself reads all."""
HASHED = 1 << 20
"""Buckets for the values of columns that (nearly) never repeat, so that their dictionary stays small."""
REPEATING = 0.5
"""Distinct values per row below which whole numbers are also taken as names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is ranked.

    schema: how the rows are encoded for the ranking; given: the schema of the model, if it was given
    whole: fields of whole numbers, read as names and in bins
    outside: columns that the model's schema leaves out, with the reason
    """

    source: Source
    schema: Schema
    label: str
    given: Schema | None = None
    root: Path = Path()
    whole: frozenset[str] = frozenset()
    outside: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()


def asked(train: Any, label: str | None, schema: Schema | str | Path | None) -> Asked:
    """Return what is ranked: with the given schema its fields, else every column of the rows.

    Raises SchemaError, DataError: as `fit` does. UsageError: the schema has no such label.
    """
    source = open_source(train)
    if schema is None:
        return _inferred(source, label)
    root = Path() if isinstance(schema, Schema) else Path(schema).parent
    given = schema if isinstance(schema, Schema) else Schema.load(schema)
    names = [column.name for column in given.labels]
    if label is not None and label not in names:
        raise UsageError(f"--label {label}: {unknown(label, names, 'label in the schema')}")
    fields = tuple(_in_bins(column) for column in given.fields if not isinstance(column, Multimodal))
    notes = _vectors(given)
    return Asked(source, msgspec.structs.replace(given, fields=fields), label or names[0], given, root, notes=notes)


def _inferred(source: Source, label: str | None) -> Asked:
    proposal = infer(source.sample(rows=LOOKED_AT), label=label, rows=source.rows_hint, leaking=False)
    profiles = {column.name: column for column in proposal.profile}
    found, whole = list[Field](), set[str]()
    for column in proposal.schema.fields:
        if isinstance(column, Multimodal):
            continue
        profile = profiles.get(column.name)
        if isinstance(column, Numeric) and profile is not None and _names_too(profile):
            whole.add(column.name)
            found.append(Categorical(column.name, role=column.role))
        elif isinstance(column, (Categorical, Bag)):
            found.append(msgspec.structs.replace(column, min_count=1))
        else:
            found.append(_in_bins(column))
    outside = {name: proposal.reasons[name].removeprefix("ignored: ") for name in proposal.schema.ignored}
    found += [_left_out(profiles[name]) for name in outside]
    order = {name: place for place, name in enumerate(source.columns)}
    found.sort(key=lambda column: order.get(column.name, 0))
    schema = msgspec.structs.replace(proposal.schema, fields=tuple(found), ignored=())
    return Asked(source, schema, schema.labels[0].name, None, Path(), frozenset(whole), outside, _told(proposal))


def _told(proposal: Proposal) -> tuple[str, ...]:
    time = proposal.schema.time
    said = () if time is None else (f"'{time.name}' is the time of the row; it orders rows and is not ranked.",)
    mixed = tuple(suspect.text for suspect in proposal.suspects if suspect.kind == "mixed")
    return (*said, *mixed, *_vectors(proposal.schema))


def _vectors(schema: Schema) -> tuple[str, ...]:
    names = [column.name for column in schema.fields if isinstance(column, Multimodal)]
    return tuple(f"'{name}' holds vectors, which have no values to count; it is not ranked." for name in names)


def _names_too(profile: ColumnProfile) -> bool:
    return profile.kind == "integer" and profile.distinct_share <= REPEATING


def _in_bins(column: Field) -> Field:
    """Return a number as bins of equal counts, with a bin for missing ones; other columns as they are."""
    if not isinstance(column, Numeric) or column.scale in ("quantile", "log_square"):
        return column
    return Numeric(column.name, role=column.role, scale="quantile", bins=BINS)


def _left_out(profile: ColumnProfile) -> Categorical:
    return Categorical(profile.name, buckets=HASHED if profile.distinct_share > REPEATING else None)
