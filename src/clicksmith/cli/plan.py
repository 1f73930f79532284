"""`clicksmith plan`: look at Plans, merge them, and let new ids join the rows of a map."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from clicksmith.cli.options import flags
from clicksmith.cli.parse import Columns, Delimiter, call, option
from clicksmith.errors import UsageError
from clicksmith.names import lookup

if TYPE_CHECKING:
    from clicksmith.plan import Plan

ABOUT = """usage: clicksmith plan ACTION [options]

A Plan is what a search found: fields and features to keep, columns, shared rows, pairs. `fit --plan` builds under it.

  clicksmith plan show PLAN [PLAN ...]   what it says; of several, how far their kept features agree
  clicksmith plan merge PLAN PLAN ...    several as one
  clicksmith plan fold-in RUN_DIR ROWS   a trained model in which new ids share the rows of those they behave like

`clicksmith plan ACTION --help` shows the options."""

SHOW = """Print what a Plan says, and draw it. Of several Plans also print how far the features they keep agree.

examples:
  clicksmith plan show plan.json
  clicksmith plan show plan.json --html plan.html
  clicksmith plan show RUN_DIR                             under which a model was built
  clicksmith plan show seed0.json seed1.json seed2.json"""

MERGE = """Write several Plans as one. Two that contradict each other are refused, and both are named.

examples:
  clicksmith plan merge fields.json features.json --out both.json"""

FOLD_IN = """Write a trained model that knows new ids: each joins the shared row in whose cluster most of its edges
lie, so it scores with the weights that are there. For models under a map of `clicksmith search graphhash`; old ids
keep their rows, and nothing is trained. ROWS are newer rows with labels, in which new ids meet old ones.

examples:
  clicksmith plan fold-in run today.csv --out model
  clicksmith predict model tomorrow.csv --out scores.csv"""


def main(argv: Sequence[str]) -> int:
    """Run one action."""
    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT)
        raise SystemExit(0)
    function, about = lookup(ACTIONS, argv[0], "action of `clicksmith plan`")
    return call(function, argv[1:], verb=f"plan {argv[0]}", about=about)


def show(
    plans: Annotated[
        tuple[str, ...], Positional, option("PLANS", "JSON files of searches, or runs", default="required")
    ],
    /,
    *,
    html: Annotated[str | None, option("FILE", "also write a page with pictures; for one Plan")] = None,
) -> int:
    """Print the summaries."""
    from clicksmith.cli.show import note
    from clicksmith.files import write_bytes
    from clicksmith.plan import Plan
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
    if len(plans) > 1 and any(_spoken_of(plan) for plan in found):
        total, slots = overlap(found, plans)
        each = ", ".join(f"{slot} {share:.3f}" for slot, share in slots.items())
        print(f"kept features in common (Jaccard, mean over pairs of Plans): {total:.3f} ({each})")
        if any(_spoken_of(plan) < set(slots) for plan in found):
            print("a Plan that does not speak of a vocabulary keeps all of it, one that drops the field nothing")
    if html is not None:
        from clicksmith.report.page import plan_page

        write_bytes(Path(html), plan_page(found[0], Path(plans[0]).name).encode())
        note(f"page: {html}")
    return 0


def _spoken_of(plan: "Plan") -> set[str]:
    """Return the vocabularies whose features a Plan chooses among."""
    from clicksmith.plan import KeptFeatures

    return {slot for part in plan.parts if isinstance(part, KeptFeatures) for slot in part.slots}


def _print(plan: "Plan") -> None:
    """Print what a Plan says, and who found it."""
    for line in plan.summary() or ["nothing: the model is built as it is without a Plan"]:
        print(line)
    for part in plan.parts:
        by = part.found_by
        told = [f"seed {by.seed}", *([f"with {by.backbone}"] if by.backbone else [])]
        told += [f"{name} {value:,.{4 * (value != int(value))}f}" for name, value in by.scores.items()]
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
    found = merged(*(Plan.load(path) for path in plans), names=plans)
    found.save(out)
    for line in found.summary():
        print(line)
    note(f"plan: {out}")
    return 0


def fold_in(
    run_dir: Annotated[str, Positional, option("RUN_DIR", "what `clicksmith fit` wrote", default="required")],
    file: Annotated[str, Positional, option("ROWS", "CSV, TSV or Parquet, or a glob", default="required")],
    /,
    *,
    out: Annotated[str | None, option("MODEL", "the folder of the new model", default="required")] = None,
    root: Annotated[str, option("FOLDER", "of newer side tables, named as the schema names them", default=".")] = ".",
    columns: Columns = None,
    delimiter: Delimiter = None,
    models: Annotated[tuple[str, ...], option("FILES", "your own model files, if the model is one")] = (),
) -> int:
    """Fold in, and write the model."""
    from clicksmith.cli.own_models import load_models
    from clicksmith.cli.rows import opened
    from clicksmith.cli.show import note
    from clicksmith.encode.recipe import side_tables
    from clicksmith.graph.fold import fold_new_ids
    from clicksmith.serve.artifact import save
    from clicksmith.serve.predictor import load

    if out is None:
        raise UsageError("--out MODEL is missing; see `clicksmith plan fold-in --help`.")
    if Path(out).exists():
        raise UsageError(f"'{out}' is there already; choose another --out.")
    load_models(models)
    predictor = load(run_dir)
    artifact = predictor.artifact
    tables = side_tables(artifact.encoder.schema, {}, Path(root))
    for name, path in tables.items():
        if not path.is_file():
            raise UsageError(f"there is no file '{path}' of '{name}'; name the folder of the side tables with --root.")
    rows = opened([file], columns, delimiter, predictor)
    found = fold_new_ids(artifact.encoder, artifact.plan, rows, tables=tables)
    save(out, replace(artifact, encoder=found.encoder))
    for slot, new in found.new.items():
        print(f"{slot}: {found.joined[slot]:,} of {new:,} new ids share rows now; others are unseen, as before")
    note(f"model: {out}")
    words = shlex.join(flags(columns=columns, delimiter=delimiter, models=models))
    note(f"next:  clicksmith predict {shlex.quote(out)} NEW_ROWS.csv --out scores.csv {words}".rstrip())
    return 0


ACTIONS = {"show": (show, SHOW), "merge": (merge, MERGE), "fold-in": (fold_in, FOLD_IN)}
