"""`clicksmith plan`: look at Plans, and merge them."""

from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, option
from clicksmith.errors import UsageError
from clicksmith.names import lookup

ABOUT = """usage: clicksmith plan ACTION [options]

A Plan is what a search found: fields and features to keep, columns, shared rows, pairs. `fit --plan` builds under it.

  clicksmith plan show PLAN              what it says
  clicksmith plan merge PLAN PLAN ...    several as one

`clicksmith plan ACTION --help` shows the options."""

SHOW = """Print what a Plan says, and draw it.

examples:
  clicksmith plan show plan.json
  clicksmith plan show plan.json --html plan.html"""

MERGE = """Write several Plans as one. Two that contradict each other are refused, and both are named.

examples:
  clicksmith plan merge fields.json features.json --out both.json"""


def main(argv: Sequence[str]) -> int:
    """Run one action."""
    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT)
        raise SystemExit(0)
    function, about = lookup(ACTIONS, argv[0], "action of `clicksmith plan`")
    return call(function, argv[1:], verb=f"plan {argv[0]}", about=about)


def show(
    plan: Annotated[str, Positional, option("PLAN", "a JSON file that a search wrote", default="required")],
    /,
    *,
    html: Annotated[str | None, option("FILE", "also write a page with pictures")] = None,
) -> int:
    """Print the summary."""
    from pathlib import Path

    from clicksmith.cli.show import note
    from clicksmith.files import write_bytes
    from clicksmith.plan import Plan

    found = Plan.load(plan)
    for line in found.summary() or ["nothing: the model is built as it is without a Plan"]:
        print(line)
    for part in found.parts:
        by = part.found_by
        told = [f"seed {by.seed}", *([f"with {by.backbone}"] if by.backbone else [])]
        told += [f"{name} {value:.4f}" for name, value in by.scores.items()]
        print(f"({part.__struct_config__.tag}: found by {by.method}, {', '.join(told)})")
    if html is not None:
        from clicksmith.report.page import plan_page

        write_bytes(Path(html), plan_page(found, Path(plan).name).encode())
        note(f"page: {html}")
    return 0


def merge(
    plans: Annotated[tuple[str, ...], Positional, option("PLANS", "JSON files, in order", default="required")],
    /,
    *,
    out: Annotated[str | None, option("FILE", "the merged Plan", default="required")] = None,
) -> int:
    """Merge and write."""
    from clicksmith.cli.show import note
    from clicksmith.plan import Plan
    from clicksmith.plan.merge import merge as merged

    if len(plans) < 2 or out is None:
        missing = "--out FILE" if len(plans) > 1 else "a second PLAN"
        raise UsageError(f"{missing} is missing; see `clicksmith plan merge --help`.")
    found = merged(*(Plan.load(path) for path in plans))
    found.save(out)
    for line in found.summary():
        print(line)
    note(f"plan: {out}")
    return 0


ACTIONS = {"show": (show, SHOW), "merge": (merge, MERGE)}
