"""The data section of a report, from what `infer` found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clicksmith.report.data import ColumnProfile

if TYPE_CHECKING:
    from clicksmith.schema.infer import Proposal
    from clicksmith.schema.profile import ColumnProfile as Found
    from clicksmith.schema.schema import Schema


def profile_of(proposal: Proposal, schema: Schema | None = None) -> tuple[ColumnProfile, ...]:
    """Return one line a column: what it is taken for (in `schema`, if another was used), what it holds, and why."""
    kinds = _kinds(schema or proposal.schema)
    return tuple(
        ColumnProfile(
            name=found.name,
            kind=kinds.get(found.name, "not used"),
            unique=found.unique,
            missing=found.missing / found.rows if found.rows else None,
            reason=proposal.reasons.get(found.name, ""),
            example=_example(found),
        )
        for found in proposal.profile
    )


def _kinds(schema: Schema) -> dict[str, str]:
    columns = (*schema.fields, *schema.behaviours, *schema.labels)
    kinds = {column.name: type(column).__name__.lower() for column in columns}
    kinds |= {side.name: "behaviour" for behaviour in schema.behaviours for side in behaviour.sides}
    roles = {
        "group": schema.group,
        "domain": schema.domain,
        "time": schema.time and schema.time.name,
        "weight": schema.weight,
    }
    for role, name in roles.items():
        if name:
            kinds[name] = f"{kinds[name]}, {role}" if name in kinds else role
    return kinds


def _example(found: Found) -> str:
    """Return the range of numbers, or the most frequent values of names."""
    if found.quantiles:
        return f"{found.quantiles[0]:.6g} … {found.quantiles[-1]:.6g}"
    return ", ".join(value if len(value) <= 24 else value[:23] + "…" for value, _ in found.top[:3])
