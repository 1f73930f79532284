"""`clicksmith bench`: the open benchmark, from data sets to ranks."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from clicksmith.cli.options import blaming, option_lines, options_of, take_dotted
from clicksmith.cli.parse import call, flag, helping, option
from clicksmith.errors import UsageError
from clicksmith.names import lookup

if TYPE_CHECKING:
    from clicksmith.bench.table import DatasetTable, Line

ABOUT = """usage: clicksmith bench ACTION [options]

Run every model under one protocol, verify what was measured, and say which differences are real.

  clicksmith bench run DATASET      train models x seeds, a row of facts each; goes on where it stopped
  clicksmith bench verify RESULTS   check every row, and recompute one, or one of every model
  clicksmith bench table RESULTS    mean, spread, interval and rank of each model
  clicksmith bench page RESULTS     the same and more as a site that needs no server

`clicksmith bench ACTION --help` shows the options."""

RUN = """Train every model with every seed that has no row yet, in parallel, and write a row of facts for each.

examples:
  clicksmith bench run frappe_x1 --data ~/data/frappe --models all --seeds 5
  clicksmith bench run frappe_x1 --models FM FinalMLP --seeds 2 --jobs 4 --memory 16
  clicksmith bench run shop.toml --models fm dcnv2 --settings shop_settings.toml
  clicksmith bench run shop.toml --models my_models.py my_model fm --tune 20
  clicksmith bench run frappe_x1 --train.precision bf16 --results bf16

The test rows are locked: training stops and selects on validation rows, and the weights it selects are tested once.
Finished rows are skipped; the same command goes on after an interruption."""

VERIFY = """Check name and checksum of every row, and recompute one, or one of every model, with its seed and threads.

examples:
  clicksmith bench verify results --data ~/data/frappe
  clicksmith bench verify results --row frappe_x1/FM/0 --data ~/data/frappe
  clicksmith bench verify results --each --data ~/data/frappe
  clicksmith bench verify results --check-only

With the same code on the same machine every stored logit must come out again. Elsewhere AUC must lie within the
tolerance, or, where there are three seeds or more, where one more seed of the model would lie in 99 of 100 cases."""

TABLE = """Mean, spread, interval and rank of each model, and which differences are more than chance.

examples:
  clicksmith bench table results
  clicksmith bench table results --pairs --resamples 1000
  clicksmith bench table results --json"""


PAGE = """Write a static site: leaderboards, ties, quality against cost, learning curves, a page per model.

examples:
  clicksmith bench page results --out site
  clicksmith bench page results --out site --settings shop_settings.toml

Open SITE/index.html; it asks for nothing outside itself. The same rows give the same bytes."""


def main(argv: Sequence[str]) -> int:
    """Run one action."""
    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT)
        raise SystemExit(0)
    function, about = lookup(ACTIONS, argv[0], "action of `clicksmith bench`")
    if argv[0] != "run":
        return call(function, argv[1:], verb=f"bench {argv[0]}", about=about)
    rest, train = take_dotted(argv[1:], "train")
    more = _training_help() if helping(rest) else ""
    return call(run, rest, verb="bench run", about=about, more=more, given={"train": train})


def _training_help() -> str:
    from clicksmith.train.settings import TrainSettings

    lines = option_lines(TrainSettings, "--train.", but=("seed",))
    return "\n".join(["training of every model, over what the settings file says:", *lines])


def run(
    dataset: Annotated[
        str, Positional, option("DATASET", "a name of `clicksmith datasets`, or DATASET.toml", default="required")
    ],
    /,
    *,
    train: dict[str, str],
    data: Annotated[str | None, option("FOLDER", "where it lies", default="$CLICKSMITH_DATA, else the cache")] = None,
    models: Annotated[
        tuple[str, ...],
        option("NAMES", "of the settings, backbones, all, or FILE.py with your own", default="all"),
    ] = ("all",),
    seeds: Annotated[int, option("N", "seeds 0 to N-1 for each model", default="5")] = 5,
    settings: Annotated[
        str | None, option("FILE.toml", "models and how they are trained", default="those tuned for the data set")
    ] = None,
    results: Annotated[str, option("DIR", "where rows are written", default="results")] = "results",
    protocol: Annotated[
        str | None, option("NAME", "of preprocessing and split; `published` keeps the published parts")
    ] = None,
    jobs: Annotated[int | None, option("N", "trials at once", default="as many as cores; 1 on a GPU")] = None,
    memory: Annotated[float | None, option("GB", "for all trials together", default="most of what is free")] = None,
    threads: Annotated[int, option("N", "of a trial", default="1")] = 1,
    retry: Annotated[bool, flag("run failed trials again")] = False,
    tune: Annotated[
        int | None,
        option(
            "N", "first search every model's options with N trials on valid, the best third twice", default="no search"
        ),
    ] = None,
    cache: Annotated[str | None, option("FOLDER", "of encoded rows", default="~/.cache/clicksmith/bench")] = None,
    quiet: Annotated[bool, flag("say nothing on the way")] = False,
) -> int:
    """Run trials; status 1 if one failed or a file was in the way."""
    from pathlib import Path

    from clicksmith.bench.run import CACHE
    from clicksmith.bench.run import run as run_bench
    from clicksmith.cli.show import note
    from clicksmith.train.settings import TrainSettings

    with blaming({}, train=train):
        report = run_bench(
            dataset,
            folder=data,
            models=models,
            seeds=seeds,
            settings=settings,
            results=Path(results),
            protocol=protocol,
            jobs=jobs,
            memory=memory,
            threads=threads,
            retry=retry,
            train=options_of(TrainSettings, train, "--train.", but=("seed",)),
            tune=tune,
            cache=CACHE if cache is None else Path(cache),
            say=(lambda _: None) if quiet else note,
        )
    for line in (*report.strange, *(f"failed: {text}" for text in report.failed)):
        note(line)
    print(f"{report.finished} trials finished, {report.skipped} were done before, {len(report.failed)} failed")
    if report.failed_before:
        note(f"{report.failed_before} of those done before have no outcome; --retry runs them again")
    note(f"next:  clicksmith bench table {shlex.quote(str(results))}")
    return 1 if report.failed or report.strange or report.failed_before else 0


def verify(
    results: Annotated[str, Positional, option("RESULTS", "what `bench run` wrote", default="required")],
    /,
    *,
    row: Annotated[
        str | None, option("DATASET/MODEL/SEED", "which row to recompute", default="the one that took the shortest")
    ] = None,
    each: Annotated[bool, flag("recompute one seed of every model")] = False,
    jobs: Annotated[int | None, option("N", "trials at once", default="as many as cores; 1 on a GPU")] = None,
    data: Annotated[
        str | None, option("FOLDER", "of the data set, or its DATASET.toml", default="$CLICKSMITH_DATA, else the cache")
    ] = None,
    tolerance: Annotated[float, option("AUC", "allowed with other code or on another machine", default="0.001")] = 1e-3,
    models: Annotated[tuple[str, ...], option("FILES", "Python files with your own models")] = (),
    check_only: Annotated[bool, flag("recompute nothing")] = False,
    cache: Annotated[str | None, option("FOLDER", "of encoded rows", default="~/.cache/clicksmith/bench")] = None,
) -> int:
    """Check all rows, recompute some; status 1 if anything is wrong."""
    import time
    from pathlib import Path

    from clicksmith.bench.pool import cores
    from clicksmith.bench.results import read_results
    from clicksmith.bench.run import CACHE, ahead
    from clicksmith.bench.verify import Verdict, quickest, recompute, row_named, sentinels
    from clicksmith.cli.show import note

    if each and (row is not None or check_only):
        raise UsageError(f"--each and {'--check-only' if check_only else '--row'}: give one of them.")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 is needed.")
    found = read_results(Path(results))
    for line in found.strange:
        print(line)
    sound = len(found.rows) + len(found.failures)
    print(f"{sound} rows are sound ({len(found.failures)} of failed trials), {len(found.strange)} files are left out")
    if check_only:
        return 1 if found.strange else 0
    chosen = sentinels(found) if each else [quickest(found) if row is None else row_named(found, row)]
    most = jobs or (1 if any(one.made_by.gpu for one in chosen) else cores())
    count, began = 0, time.monotonic()

    def ended(verdict: Verdict) -> None:
        nonlocal count
        count += 1
        print(f"{verdict}{ahead(began, count, len(chosen))}", flush=True)

    verdicts = recompute(
        found,
        chosen,
        folder=data,
        cache=CACHE if cache is None else Path(cache),
        tolerance=tolerance,
        files=models,
        jobs=min(most, len(chosen)),
        say=note,
        ended=ended,
    )
    apart = [verdict for verdict in verdicts if not verdict.agrees]
    if each:
        for verdict in apart:
            print(verdict)
        print(f"{len(chosen) - len(apart)} of {len(chosen)} models agree")
    return 1 if apart or found.strange else 0


def table(
    results: Annotated[str, Positional, option("RESULTS", "what `bench run` wrote", default="required")],
    /,
    *,
    pairs: Annotated[bool, flag("also every pair: effect in AUC points, interval, p-values")] = False,
    resamples: Annotated[int, option("N", "of the paired bootstrap, beside DeLong's test", default="none")] = 0,
    level: Annotated[float, option("SHARE", "confidence level", default="0.95")] = 0.95,
    settings: Annotated[
        str | None, option("FILE.toml", "whose published figures stand beside", default="the package's")
    ] = None,
    json: Annotated[bool, flag("print everything as JSON")] = False,
) -> int:
    """Print what the rows say, a table per data set."""
    from pathlib import Path

    from clicksmith.bench.results import read_results
    from clicksmith.bench.settings import read_settings
    from clicksmith.bench.table import tables, told
    from clicksmith.cli.show import json_out, note

    found = read_results(Path(results))
    for line in found.strange:
        note(line)
    asked = None if settings is None else read_settings(Path(settings))
    made = tables(found, settings=asked, level=level, resamples=resamples)
    for row in found.failures:
        if row.dataset not in found.datasets:
            note(f"{row.dataset}: no trial has finished; {told(row, found.folder)}")
    if json:
        json_out(made)
        return 0
    for one in made:
        _print(one, pairs=pairs)
    return 0


def page(
    results: Annotated[str, Positional, option("RESULTS", "what `bench run` wrote", default="required")],
    /,
    *,
    out: Annotated[str, option("SITE", "folder of the site", default="site")] = "site",
    level: Annotated[float, option("SHARE", "confidence level", default="0.95")] = 0.95,
    settings: Annotated[
        str | None, option("FILE.toml", "whose published figures stand beside", default="the package's")
    ] = None,
) -> int:
    """Write the site; rows that are left out are named on it."""
    from pathlib import Path

    from clicksmith.bench.results import read_results
    from clicksmith.bench.settings import read_settings
    from clicksmith.bench.site import write_site
    from clicksmith.cli.show import note
    from clicksmith.papers import PAPERS

    found = read_results(Path(results))
    for line in found.strange:
        note(line)
    asked = None if settings is None else read_settings(Path(settings))
    pages = write_site(found, Path(out), PAPERS, settings=asked, level=level)
    note(f"{pages} pages: {Path(out) / 'index.html'}")
    return 0


def _print(one: "DatasetTable", *, pairs: bool) -> None:
    from clicksmith.bench.ranks import shown_p
    from clicksmith.cli.show import note, table

    print(f"{one.dataset}: {one.test_rows:,} test rows; models of a rank are tied with one another")
    head = ["rank", "could be", "model", "AUC", "sd", f"{one.level:.0%} interval", "log-loss", "GAUC", "reference"]
    head += ["seeds", "parameters", "FLOPs/row", "epochs", "s to best", "processor s"]
    numbers = [i for i in range(len(head)) if i not in (1, 2, 5)]
    absent = [
        ["", "", name, "not measured", *[""] * 4, f"{auc:.4f}", *[""] * 6] for name, auc in one.unmeasured.items()
    ]
    table(head, [*(_cells(line) for line in one.lines), *absent], numbers=numbers)
    if one.source:
        print(f"reference: {one.source}")
    if pairs:
        rows = [
            [p.a, p.b, f"{100 * p.effect:+.3f}", f"{100 * p.low:+.3f} to {100 * p.high:+.3f}", shown_p(p.p),
             shown_p(p.holm), "" if p.bootstrap_p is None else shown_p(p.bootstrap_p),
             "real" if p.significant else "a tie"]
            for p in one.pairs
        ]  # fmt: skip
        print()
        table(
            ["a", "b", "b - a, AUC points", "interval", "p", "Holm", "bootstrap", "verdict"], rows, numbers=(2, 4, 5, 6)
        )
    for line in (*one.notes, *(f"failed: {text}" for text in one.failures)):
        note(f"note: {line}")


def _cells(line: "Line") -> list[str]:
    at, metrics = line.standing, line.metrics
    gauc = f"{metrics['gauc'].mean:.5f}" if "gauc" in metrics else ""
    return [
        str(at.rank), f"{at.best} to {at.worst}", at.model, f"{at.auc:.5f}", "" if at.sd is None else f"{at.sd:.5f}",
        f"{at.low:.5f} to {at.high:.5f}", f"{metrics['logloss'].mean:.5f}", gauc,
        "" if line.reference is None else f"{line.reference:.4f}", str(at.seeds), f"{line.parameters:,}",
        "" if line.flops_per_row is None else f"{line.flops_per_row:,}", f"{line.epochs.mean:.0f}",
        f"{line.seconds_to_best.mean:.1f}", f"{line.cpu_seconds.mean:.1f}",
    ]  # fmt: skip


ACTIONS = {"run": (run, RUN), "verify": (verify, VERIFY), "table": (table, TABLE), "page": (page, PAGE)}
