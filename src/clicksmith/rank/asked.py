"""From raw rows to encoded ones that suit a ranking: every column but the label, read as what it may be.

A ranking reads more generously than a model: columns that `fit` would leave out are ranked too, whole numbers are taken
as names and as quantities, and every value counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.encode.source import Source, open_source
from clicksmith.errors import UsageError
from clicksmith.names import unknown
from clicksmith.rank.views import HASHED
from clicksmith.schema.columns import Categorical, Field, Multimodal, Numeric, Role
from clicksmith.schema.infer import Proposal, infer
from clicksmith.schema.profile import ColumnProfile
from clicksmith.schema.schema import Schema

LOOKED_AT = 5_000
"""Rows that say what the columns are; the ranking itself reads all."""
REPEATING = 0.5
"""Distinct values per row up to which a column's values are kept in a dictionary."""


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

    def as_names(self) -> Asked | None:
        """Return the same with left-out numbers as names: one of their cells may be none. None if there are no such."""
        numbers = {c.name for c in self.schema.fields if isinstance(c, Numeric) and c.name in self.outside}
        if not numbers:
            return None
        fields = tuple(
            Categorical(c.name, buckets=HASHED, missing="unseen") if c.name in numbers else c
            for c in self.schema.fields
        )
        text = f"a cell is no number, so that columns which `fit` leaves out are read as names: {', '.join(numbers)}."
        schema = msgspec.structs.replace(self.schema, fields=fields)
        return replace(self, schema=schema, whole=self.whole - numbers, notes=(*self.notes, text))


def asked(train: Any, label: str | None, schema: Schema | str | Path | None, root: str | Path | None = None) -> Asked:
    """Return what is ranked: with the given schema its fields, else every column of the rows.

    Raises SchemaError, DataError: as `fit` does. UsageError: the schema has no such label.
    """
    source = open_source(train)
    if schema is None:
        return _inferred(source, label)
    if root is None:
        root = Path() if isinstance(schema, Schema) else Path(schema).parent
    given = schema if isinstance(schema, Schema) else Schema.load(schema)
    names = [column.name for column in given.labels]
    if label is not None and label not in names:
        raise UsageError(f"--label {label}: {unknown(label, names, 'label in the schema')}")
    fields = tuple(_in_bins(column) for column in given.fields if not isinstance(column, Multimodal))
    notes = _vectors(given)
    read = msgspec.structs.replace(given, fields=fields)
    return Asked(source, read, label or names[0], given, Path(root), notes=notes)


def _inferred(source: Source, label: str | None) -> Asked:
    sample = source.sample(rows=LOOKED_AT)
    proposal = infer(sample, label=label, rows=source.rows_hint, leaking=False)
    profiles = {column.name: column for column in proposal.profile}
    found, whole = list[Field](), set[str]()
    for column in proposal.schema.fields:
        if isinstance(column, Numeric):
            profile = profiles[column.name]
            found.append(_number(profile, column.role))
            if profile.kind == "integer" and _repeats(profile):
                whole.add(column.name)
        elif not isinstance(column, Multimodal):
            found.append(msgspec.structs.replace(column, min_count=1))
            if isinstance(column, Categorical) and profiles[column.name].kind == "integer":
                whole.add(column.name)
    outside = {name: proposal.reasons[name].removeprefix("ignored: ") for name in proposal.schema.ignored}
    nested = {name: outside.pop(name) for name in list(outside) if sample.schema[name].is_nested()}
    notes = tuple(
        f"'{name}' is not ranked, as the schema leaves it out: {why.rstrip('.')}." for name, why in nested.items()
    )
    found += [_left_out(profiles[name]) for name in outside]
    whole |= {name for name in outside if profiles[name].kind == "integer"}
    order = {name: place for place, name in enumerate(source.columns)}
    found.sort(key=lambda column: order.get(column.name, 0))
    schema = msgspec.structs.replace(proposal.schema, fields=tuple(found), ignored=())
    return Asked(
        source, schema, schema.labels[0].name, None, Path(), frozenset(whole), outside, (*_told(proposal), *notes)
    )


def _told(proposal: Proposal) -> tuple[str, ...]:
    time = proposal.schema.time
    said = () if time is None else (f"'{time.name}' is the time of the row; it orders rows and is not ranked.",)
    mixed = tuple(suspect.text for suspect in proposal.suspects if suspect.kind == "mixed")
    return (*said, *mixed, *_vectors(proposal.schema))


def _vectors(schema: Schema) -> tuple[str, ...]:
    names = [column.name for column in schema.fields if isinstance(column, Multimodal)]
    return tuple(f"'{name}' holds vectors, which have no values to count; it is not ranked." for name in names)


def _repeats(profile: ColumnProfile) -> bool:
    return profile.distinct_share <= REPEATING


def _in_bins(column: Field) -> Field:
    """Return a number as one that is cut into bins of equal counts later; other columns as they are."""
    if not isinstance(column, Numeric) or column.scale in ("quantile", "log_square"):
        return column
    return Numeric(column.name, role=column.role)


def _number(profile: ColumnProfile, role: Role) -> Field:
    """Return whole numbers that repeat as names, which are also seen in bins; others as `_in_bins` does."""
    names = profile.kind == "integer" and _repeats(profile)
    return Categorical(profile.name, role=role) if names else Numeric(profile.name, role=role)


def _left_out(profile: ColumnProfile) -> Field:
    if profile.kind in ("integer", "number"):
        return _number(profile, "context")
    if _repeats(profile):
        return Categorical(profile.name)
    return Categorical(profile.name, buckets=HASHED, missing="unseen")  # a hashed empty cell is a value like others
