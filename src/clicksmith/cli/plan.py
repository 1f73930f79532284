"""`clicksmith plan`: look at Plans, and merge them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, option
from clicksmith.errors import UsageError
from clicksmith.names import lookup

if TYPE_CHECKING:
    from clicksmith.plan import Plan

ABOUT = """usage: clicksmith plan ACTION [options]

A Plan is what a search found: fields and features to keep, columns, shared rows, pairs. `fit --plan` builds under it.

  clicksmith plan show PLAN [PLAN ...]   what it says; of several, how far their kept features agree
  clicksmith plan merge PLAN PLAN ...    several as one

`clicksmith plan ACTION --help` shows the options."""

SHOW = """Print what a Plan says, and draw it. Of several Plans also print how far the features they keep agree.

examples:
  clicksmith plan show plan.json
  clicksmith plan show plan.json --html plan.html
  clicksmith plan show seed0.json seed1.json seed2.json"""

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
    plans: Annotated[tuple[str, ...], Positional, option("PLANS", "JSON files of searches", default="required")],
    /,
    *,
    html: Annotated[str | None, option("FILE", "also write a page with pictures; for one Plan")] = None,
) -> int:
    """Print the summaries."""
    from pathlib import Path

    from clicksmith.cli.show import note
    from clicksmith.files import write_bytes
    from clicksmith.plan import KeptFeatures, Plan
    from clicksmith.plan.overlap import overlap

    if len(plans) == 0:
        raise UsageError("name a Plan: a JSON file of a search.")
    if html is not None and len(plans) > 1:
        raise UsageError("--html draws one Plan; leave it out, or name one.")
    found = [Plan.load(path) for path in plans]
    for path, plan in zip(plans, found, strict=True):
        if len(plans) > 1:
            print(f"{path}:")
        _print(plan)
    if len(plans) > 1 and any(isinstance(part, KeptFeatures) for plan in found for part in plan.parts):
        total, slots = overlap(found)
        each = ", ".join(f"{slot} {share:.3f}" for slot, share in slots.items())
        print(f"kept features in common (Jaccard, mean over pairs of Plans): {total:.3f} ({each})")
    if html is not None:
        from clicksmith.report.page import plan_page

        write_bytes(Path(html), plan_page(found[0], Path(plans[0]).name).encode())
        note(f"page: {html}")
    return 0


def _print(plan: "Plan") -> None:
    """Print what a Plan says, and who found it."""
    for line in plan.summary() or ["nothing: the model is built as it is without a Plan"]:
        print(line)
    for part in plan.parts:
        by = part.found_by
        told = [f"seed {by.seed}", *([f"with {by.backbone}"] if by.backbone else [])]
        told += [f"{name} {value:.4f}" for name, value in by.scores.items()]
        print(f"({part.__struct_config__.tag}: found by {by.method}, {', '.join(told)})")


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
