"""The data section of a report, from what `infer` found out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clicksmith.report.data import ColumnProfile
from clicksmith.report.svg import shorten

if TYPE_CHECKING:
    from clicksmith.schema.infer import Proposal
    from clicksmith.schema.profile import ColumnProfile as Found
    from clicksmith.schema.schema import Schema


def profile_of(proposal: Proposal, schema: Schema | None = None) -> tuple[ColumnProfile, ...]:
    """Return one line a column: what it is taken for (in `schema`, if another was used), what it holds, and why."""
    taken = kinds(schema or proposal.schema)
    return tuple(
        ColumnProfile(
            name=found.name,
            kind=taken.get(found.name, "not used"),
            unique=found.unique,
            missing=found.missing / found.rows if found.rows else None,
            reason=proposal.reasons.get(found.name, ""),
            example=_example(found),
        )
        for found in proposal.profile
    )


def kinds(schema: Schema) -> dict[str, str]:
    """Return what each column of a schema is, its role besides."""
    columns = (*schema.fields, *schema.behaviours, *schema.labels)
    found = {column.name: type(column).__name__.lower() for column in columns}
    found |= {side.name: "behaviour" for behaviour in schema.behaviours for side in behaviour.sides}
    roles = {
        "group": schema.group,
        "domain": schema.domain,
        "time": schema.time and schema.time.name,
        "weight": schema.weight,
    }
    for role, name in roles.items():
        if name:
            found[name] = f"{found[name]}, {role}" if name in found else role
    return found


def shown(values: Iterable[str]) -> str:
    """Return values in a line, long ones cut."""
    return ", ".join(shorten(value or "(empty)", 24) for value in values)


def _example(found: Found) -> str:
    """Return the range of numbers, or the most frequent values of names."""
    if found.quantiles:
        return f"{found.quantiles[0]:.6g} … {found.quantiles[-1]:.6g}"
    return shown(value for value, _ in found.top[:3])
