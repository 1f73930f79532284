"""`clicksmith datasets`: published data sets by name, and simulated ones."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from clicksmith.cli.parse import call, flag, option
from clicksmith.errors import UsageError

if TYPE_CHECKING:
    from clicksmith.datasets.dataset import Dataset

ABOUT = """List the known data sets, prepare one exactly as published, verify its checksums, or simulate one.

examples:
  clicksmith datasets                                            list
  clicksmith datasets fetch movielens_1m --out ml                find or download, check, write ml/train.parquet, ...
  clicksmith datasets verify frappe_x1 --folder ~/data/frappe    compare the checksums
  clicksmith datasets synthetic --rows 1000000 --out world       clicks whose truth is known"""

Action = Literal["list", "fetch", "verify", "synthetic"]


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(datasets, argv, verb="datasets", about=ABOUT)


def datasets(
    action: Annotated[
        Action, Positional, option("ACTION", "list, fetch, verify or synthetic", default="list")
    ] = "list",
    name: Annotated[str | None, Positional, option("NAME", "which data set, for fetch and verify")] = None,
    /,
    *,
    folder: Annotated[str | None, option("FOLDER", "where it lies", default="$CLICKSMITH_DATA, else the cache")] = None,
    out: Annotated[str | None, option("FOLDER", "where to write the parts", default="NAME")] = None,
    rows: Annotated[int, option("N", "rows to simulate", default="100000")] = 100_000,
    seed: Annotated[int, option("N", "of the simulation", default="0")] = 0,
    form: Annotated[Literal["csv", "parquet"], option("FORM", "simulated as csv or parquet", default="csv")] = "csv",
    offline: Annotated[bool, flag("never download")] = False,
) -> int:
    """Do what was asked."""
    if name is not None and action in ("list", "synthetic"):
        there = f" To write there: clicksmith datasets synthetic --out {shlex.quote(name)}"
        raise UsageError(f"'{name}': {action} takes no name.{there if action == 'synthetic' else ''}")
    if action == "list":
        return _list(folder)
    if action == "synthetic":
        return _synthetic(Path(out or "synthetic"), rows, seed, form)
    if name is None:
        raise UsageError(f"which data set? `clicksmith datasets {action} NAME`; `clicksmith datasets` lists them.")
    from clicksmith.cli.show import note
    from clicksmith.datasets.load import load

    found = load(name, folder, fetch=not offline and action == "fetch")
    for line in found.notes:
        note(line)
    if action == "verify":
        for part, digest in found.digests.items():
            print(f"{part}  sha256 {digest}")
        print(f"{name}: {_checked(name, folder)}.")
        return 0
    return _write(found, Path(out or name))


def _checked(name: str, folder: str | None) -> str:
    """Return how many files of a data set were compared with what is published of them."""
    from clicksmith.datasets.catalogue import DATASETS
    from clicksmith.datasets.load import find

    there = find(DATASETS[name], folder) or {}
    files = [file for file in DATASETS[name].files if file.part in there]
    summed = sum(bool(file.md5) for file in files)
    counted = sum(not file.md5 and file.rows is not None for file in files)
    told = {"the published checksum": summed, "the published number of rows": counted}
    said = [f"{count} with {what}" for what, count in told.items() if count]
    if rest := len(files) - summed - counted:
        said.append(f"{rest} of which nothing is published")
    return f"{len(files)} files, " + ", ".join(said)


def _list(folder: str | None) -> int:
    from clicksmith.cli.show import table
    from clicksmith.datasets.catalogue import DATASETS
    from clicksmith.datasets.load import find

    table(
        ["name", "here", "about"],
        [[name, "yes" if find(spec, folder) is not None else "no", spec.about] for name, spec in DATASETS.items()],
    )
    return 0


def _synthetic(out: Path, rows: int, seed: int, form: Literal["csv", "parquet"]) -> int:
    from clicksmith.cli.show import note
    from clicksmith.datasets.synthetic import ad_world

    world = ad_world(rows, seed=seed)
    world.write(out, form=form, wide=True)
    best = world.truth.bayes["test"]
    note(f"{rows:,} rows in {out}; the best possible test AUC is {best.auc:.4f}, log-loss {best.logloss:.4f}")
    note(f"next:  {_fit(out, form, ('valid', 'test'))}")
    return 0


def _write(found: "Dataset", out: Path) -> int:
    import polars as pl

    from clicksmith.cli.show import note
    from clicksmith.encode.recipe import side_tables
    from clicksmith.encode.source import open_source
    from clicksmith.files import atomic_file

    for part, rows in found.parts.items():
        frame = pl.concat(list(open_source(rows).batches()))
        with atomic_file(out / f"{part}.parquet") as beside:
            frame.write_parquet(beside)
        note(f"{part}: {frame.height:,} rows in {out / f'{part}.parquet'}")
    for path in side_tables(found.schema, {}, Path()).values():  # the schema names them beside it
        with atomic_file(out / path) as beside:
            shutil.copyfile(found.root / path, beside)
    found.schema.save(out / "schema.json")
    note(f"next:  {_fit(out, 'parquet', [part for part in found.parts if part != 'train'])}")
    return 0


def _fit(out: Path, form: str, others: Sequence[str]) -> str:
    words = [f"{out}/train.{form}", *(word for part in others for word in (f"--{part}", f"{out}/{part}.{form}"))]
    return f"clicksmith fit {shlex.join([*words, '--schema', f'{out}/schema.json'])}"
