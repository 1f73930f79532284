"""`clicksmith bench`: the open benchmark, from data sets to ranks."""

from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, flag, option
from clicksmith.names import lookup

ABOUT = """Run every model under one protocol, verify what was measured, and say which differences are real.

  clicksmith bench run DATASET      train models x seeds, a row of facts each; goes on where it stopped
  clicksmith bench verify RESULTS   check every row, and recompute one
  clicksmith bench table RESULTS    mean, spread, interval and rank of each model

`clicksmith bench ACTION --help` shows the options."""

RUN = """Train every model with every seed that has no row yet, in parallel, and write a row of facts for each.

examples:
  clicksmith bench run frappe_x1 --data ~/data/frappe --models all --seeds 5
  clicksmith bench run frappe_x1 --models FM FinalMLP --seeds 2 --jobs 4 --memory 16
  clicksmith bench run shop.toml --models fm dcnv2 --settings shop_settings.toml

The test rows are locked: training stops and selects on validation rows, and the weights it selects are tested once.
Finished rows are skipped; the same command goes on after an interruption."""


def main(argv: Sequence[str]) -> int:
    """Run one action."""
    if not argv or argv[0] in ("-h", "--help"):
        print(ABOUT)
        return 0
    function, about = lookup(ACTIONS, argv[0], "action of `clicksmith bench`")
    return call(function, argv[1:], verb=f"bench {argv[0]}", about=about)


def run(
    dataset: Annotated[
        str, Positional, option("DATASET", "a name of `clicksmith datasets`, or DATASET.toml", default="required")
    ],
    /,
    *,
    data: Annotated[str | None, option("FOLDER", "where it lies", default="$CLICKSMITH_DATA, else the cache")] = None,
    models: Annotated[tuple[str, ...], option("NAMES", "models of the settings, backbones, or all", default="all")] = (
        "all",
    ),
    seeds: Annotated[int, option("N", "seeds 0 to N-1 for each model", default="5")] = 5,
    settings: Annotated[
        str | None, option("FILE.toml", "models and how they are trained", default="those tuned for the data set")
    ] = None,
    results: Annotated[str, option("DIR", "where rows are written", default="results")] = "results",
    protocol: Annotated[
        str | None, option("NAME", "of preprocessing and split; `published` keeps the published parts")
    ] = None,
    jobs: Annotated[int | None, option("N", "trials at once", default="as many as cores")] = None,
    memory: Annotated[float | None, option("GB", "for all trials together", default="most of what is free")] = None,
    threads: Annotated[int, option("N", "of a trial", default="1")] = 1,
    retry: Annotated[bool, flag("run failed trials again")] = False,
    cache: Annotated[str | None, option("FOLDER", "of encoded rows", default="~/.cache/clicksmith/bench")] = None,
    quiet: Annotated[bool, flag("say nothing on the way")] = False,
) -> int:
    """Run trials; status 1 if one failed or a file was in the way."""
    from pathlib import Path

    from clicksmith.bench.run import CACHE
    from clicksmith.bench.run import run as run_bench
    from clicksmith.cli.show import note

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
        cache=CACHE if cache is None else Path(cache),
        say=(lambda _: None) if quiet else note,
    )
    for line in (*report.strange, *(f"failed: {text}" for text in report.failed)):
        note(line)
    print(f"{report.finished} trials finished, {report.skipped} were done before, {len(report.failed)} failed")
    note(f"next:  clicksmith bench table {results}")
    return 1 if report.failed or report.strange else 0


ACTIONS = {"run": (run, RUN)}
