"""`clicksmith rank TRAIN`: which fields say something about the label, before any model is trained."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from clicksmith.cli.options import flags
from clicksmith.cli.parse import Columns, Delimiter, call, flag, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.rank.ranking import Ranking

ABOUT = """Rank the fields by what they say of the label: exact counts, no model, no torch. Give training rows only.

examples:
  clicksmith rank clicks.csv --label click --out ranked
  clicksmith rank clicks.parquet --schema schema.json --pairs 40 --plan plan.json --top 20
  clicksmith rank clicks.csv --label click --score outrank --rotations 5        the paper's rule"""

SHOWN = 25
"""Fields that are printed; the files hold all."""
PAIRS = 10
"""Pairs that are printed."""


@dataclass(frozen=True)
class DataOptions:
    """What the columns mean, and how the rows are read."""

    schema: Annotated[str | None, option("FILE", "schema.json or .toml", default="every column is ranked")] = None
    valid: Annotated[str | None, option("FILE", "later rows: the share of unseen values is reported")] = None
    columns: Columns = None
    delimiter: Delimiter = None
    cache: Annotated[str | None, option("FOLDER", "keep encoded rows here for the next ranking")] = None


@dataclass(frozen=True)
class ScoreOptions:
    """How fields are scored."""

    score: Annotated[
        Literal["adjusted_mi", "outrank", "mi", "chi2", "permutation", "holdout", "forest"],
        option("NAME", "adjusted_mi, or outrank (the paper's rule), mi, chi2, permutation, holdout, forest"),
    ] = "adjusted_mi"
    pairs: Annotated[int, option("T", "also look at the T best fields two by two", default="0")] = 0
    rotations: Annotated[int, option("R", "controls of --score outrank", default="1")] = 1
    holdout: Annotated[float, option("SHARE", "last rows that --score holdout measures on", default="0.2")] = 0.2
    seed: Annotated[int, option("N", "of everything drawn", default="0")] = 0


@dataclass(frozen=True)
class PlanOptions:
    """The plan that keeps the best fields; give one rule, else 5 % of what is kept may be noise."""

    plan: Annotated[str | None, option("FILE", "write a plan for `fit --plan`")] = None
    top: Annotated[int | None, option("K", "keep K fields")] = None
    min_z: Annotated[float | None, option("Z", "keep fields that are so sure")] = None
    cumulative: Annotated[float | None, option("SHARE", "keep the first fields with this share of the information")] = (
        None
    )


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(rank, argv, verb="rank", about=ABOUT)


def rank(
    train: Annotated[
        tuple[str, ...], Positional, option("TRAIN", "CSV, TSV, Parquet, globs, or DATASET.toml", default="required")
    ],
    /,
    *,
    label: Annotated[str | None, option("NAME", "the column to predict", default="the schema's")] = None,
    out: Annotated[str | None, option("DIR", "leave ranking.json, pairs.json and report.html here")] = None,
    json: Annotated[bool, flag("print JSON instead of a table")] = False,
    quiet: Annotated[bool, flag("no progress")] = False,
    data: DataOptions = DataOptions(),
    scored: ScoreOptions = ScoreOptions(),
    kept: PlanOptions = PlanOptions(),
) -> int:
    """Rank, print, write."""
    from clicksmith.cli.progress import ShownProgress
    from clicksmith.cli.rows import given_rows
    from clicksmith.cli.show import json_out, note
    from clicksmith.files import check_folder
    from clicksmith.plan.parts import KeptFields
    from clicksmith.rank import rank as ranked
    from clicksmith.rank.ranking import checked_rule

    if not train:
        raise UsageError("TRAIN is missing; see `clicksmith rank --help`.")
    rules = {name: value for name in ("top", "min_z", "cumulative") if (value := getattr(kept, name)) is not None}
    if rules and kept.plan is None:
        raise UsageError(f"--{next(iter(rules)).replace('_', '-')} says what a plan keeps; add --plan FILE.")
    checked_rule(**rules)
    rows = given_rows(train, schema=data.schema, valid=data.valid, columns=data.columns, delimiter=data.delimiter)
    for folder in (out and Path(out), kept.plan and Path(kept.plan).parent):
        if folder:
            check_folder(folder)
    with ShownProgress(quiet=quiet) as progress:
        found = ranked(
            rows.train,
            label=label,
            schema=rows.schema,
            root=rows.root,
            valid=rows.valid,
            score=scored.score,
            pairs=scored.pairs,
            rotations=scored.rotations,
            holdout=scored.holdout,
            seed=scored.seed,
            cache=data.cache,
            progress=lambda done, expected: progress.encoding("rows", done, expected),
            noted=progress.noted,
        )
    if json:
        json_out({"fields": found.fields, "pairs": found.pairs, "notes": found.notes})
    else:
        _print(found, rows.train.name)
    if out is not None:
        _write(found, Path(out), rows.train.name)
        note(f"\nranking: {Path(out) / 'ranking.json'}   report: {Path(out) / 'report.html'}")
    if kept.plan is not None:
        plan = found.plan(**rules)
        plan.save(kept.plan)
        note(f"plan: {kept.plan}")
        histories = ", ".join(behaviour.name for behaviour in found.schema.behaviours)
        stay = f"; histories are not counted, and stay: {histories}" if histories else ""
        dropped = sum(len(part.drop) for part in plan.parts if isinstance(part, KeptFields))
        note(f"it drops {dropped:,} of {len(found.schema.fields):,} fields{stay}")
        words = flags(
            label=found.label, schema=data.schema, valid=data.valid, columns=data.columns, delimiter=data.delimiter,
            plan=kept.plan,
        )  # fmt: skip
        note(f"next:  clicksmith fit {shlex.join([*train, *words])}")
    return 0


def _write(found: "Ranking", folder: Path, name: str) -> None:
    from clicksmith.files import write_bytes
    from clicksmith.rank.page import ranking_page

    found.save(folder / "ranking.json")
    if found.pairs:
        found.save_pairs(folder / "pairs.json")
    else:
        (folder / "pairs.json").unlink(missing_ok=True)  # of a ranking before
    write_bytes(folder / "report.html", ranking_page(found, name).encode())


def _print(found: "Ranking", name: str) -> None:
    from clicksmith.cli.show import table

    print(f"{name}: {len(found.fields):,} fields, {found.rows:,} rows, {found.rate:.2%} clicks; ", end="")
    print(f"the label has {found.entropy:.4f} nats\n")
    rows = [
        [str(place), f.field, f"{f.score:.6f}", f"{f.information:.6f}", f"{f.z:.1f}", f"{f.q:.1g}", f"{f.values:,}",
         f.view if f.best is None else f"has '{f.best}'"]
        for place, f in enumerate(found.fields[:SHOWN], 1)
    ]  # fmt: skip
    table(["", "field", "score", "information", "z", "q", "values", "read as"], rows, numbers=(0, 2, 3, 4, 5, 6))
    if len(found.fields) > SHOWN:
        print(f"... and {len(found.fields) - SHOWN:,} more")
    sure = found.candidates(len(found.pairs))
    for pair in sure[:PAIRS]:
        print(f"pair: {pair[0]} and {pair[1]} say more together than apart")
    if found.pairs:
        shown = f"; the first {PAIRS} are shown" if len(sure) > PAIRS else ""
        print(f"pairs: {len(sure):,} of {len(found.pairs):,} surely say more together than apart{shown}")
    for f in found.fields:
        for flag_ in f.flags:
            print(f"odd: '{f.field}': {flag_}")
    for text in found.notes:
        print(f"note: {text}")
    sys.stdout.flush()
