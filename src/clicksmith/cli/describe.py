"""`clicksmith describe FILE`: what is in the file, and what a model would take it for."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from clicksmith.cli.options import flags
from clicksmith.cli.parse import Columns, Delimiter, call, flag, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.schema.infer import Proposal

ABOUT = """Look at a file: the schema that `fit` would propose, why, and what is suspicious about it.

examples:
  clicksmith describe clicks.csv
  clicksmith describe clicks.csv --label click --out schema.json      then edit it, and fit --schema schema.json
  clicksmith describe 'logs/*.parquet' --html profile.html"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(describe, argv, verb="describe", about=ABOUT)


def describe(
    file: Annotated[tuple[str, ...], Positional, option("FILE", "CSV, TSV, Parquet, globs", default="required")],
    /,
    *,
    label: Annotated[str | None, option("NAME", "the column to predict", default="looked for by name")] = None,
    out: Annotated[str | None, option("FILE", "write the schema as .json or .toml")] = None,
    html: Annotated[str | None, option("FILE", "write a page with the profile")] = None,
    json: Annotated[bool, flag("print JSON instead of a table")] = False,
    columns: Columns = None,
    delimiter: Delimiter = None,
) -> int:
    """Propose and print."""
    if not file:
        raise UsageError("FILE is missing; see `clicksmith describe --help`.")
    from clicksmith.cli.rows import opened
    from clicksmith.cli.show import json_out, note
    from clicksmith.fitting.propose import propose

    source = opened(file, columns, delimiter)
    proposal = propose(source, label)
    if json:
        json_out(proposal)
    else:
        _print(proposal, source.name)
    if out is not None:
        proposal.schema.save(out)
        note(f"schema: {out}")
    if html is not None:
        _page(proposal, source.name, Path(html))
        note(f"page: {html}")
    if not json:
        known = {"schema": out} if out else {"label": _label(proposal)}
        words = flags(**known, columns=columns, delimiter=delimiter)
        note(f"next:  clicksmith fit {shlex.join([*file, *words])}")
    return 0


def kinds(proposal: "Proposal") -> dict[str, str]:
    """Return what each column is taken for."""
    schema = proposal.schema
    columns = (*schema.fields, *schema.behaviours, *schema.labels, *((schema.time,) if schema.time else ()))
    found = {column.name: type(column).__name__.lower() for column in columns}
    sides = {side.name: "behaviour side" for behaviour in schema.behaviours for side in behaviour.sides}
    return {c.name: (found | sides).get(c.name, "ignored") for c in proposal.profile}


def _label(proposal: "Proposal") -> str:
    return proposal.schema.labels[0].name


def _print(proposal: "Proposal", name: str) -> None:
    from clicksmith.cli.show import table

    print(f"{name}: {len(proposal.profile)} columns, {proposal.rows:,} rows looked at\n")
    taken = kinds(proposal)
    rows: list[list[str]] = []
    for column in proposal.profile:
        top = ", ".join(_short(value) for value, _ in column.top[:3])
        share = f"{column.missing / max(1, column.rows):.1%}" if column.missing else ""
        rows.append(
            [column.name, taken[column.name], f"{column.unique:,}", share, top, proposal.reasons.get(column.name, "")]
        )
    table(["column", "taken as", "values", "missing", "for example", "because"], rows, numbers=(2, 3))
    schema = proposal.schema
    for word, value in (("group", schema.group), ("domain", schema.domain)):
        if value:
            print(f"\n{word}: {value}", end="")
    print()
    for suspect in proposal.suspects:
        print(f"suspect ({suspect.kind}): {suspect.text}")


def _short(text: str) -> str:
    return text if len(text) <= 14 else text[:13] + "…"


def _page(proposal: "Proposal", name: str, path: Path) -> None:
    from datetime import UTC, datetime

    from clicksmith.files import write_bytes
    from clicksmith.report import ColumnProfile, ReportData, page

    taken = kinds(proposal)
    data = ReportData(
        title=name,
        subtitle=f"{proposal.rows:,} rows looked at",
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        profile=tuple(
            ColumnProfile(
                c.name,
                taken[c.name],
                unique=c.unique,
                missing=c.missing / max(1, c.rows),
                reason=proposal.reasons.get(c.name, ""),
                example=c.top[0][0] if c.top else "",
            )
            for c in proposal.profile
        ),
        notes=tuple(f"{suspect.kind}: {suspect.text}" for suspect in proposal.suspects),
    )
    write_bytes(path, page(data).encode())
