"""Writing an ad world to a folder, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl
from polars.io.plugins import register_io_source

from clicksmith.datasets.ad_world.rows import Block
from clicksmith.datasets.ad_world.tables import frame_of_block
from clicksmith.datasets.ad_world.truth import Tally
from clicksmith.errors import UsageError
from clicksmith.files import atomic_folder

if TYPE_CHECKING:
    from clicksmith.datasets.ad_world.world import AdWorld

PARTS = ("train", "valid", "test")
OWN = {
    *(f"{part}.{form}" for part in PARTS for form in ("csv", "parquet")),
    *("users.parquet", "ads.parquet", "schema.json", "world.toml", "truth", ".lock"),
}
"""What a written world consists of."""


def write_world(world: AdWorld, folder: Path, form: Literal["parquet", "csv"], wide: bool) -> Path:
    """Write parts, side tables, schema, their declaration and the truth; the folder appears when it is complete."""
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in OWN) if folder.is_dir() else []
    if strangers:
        raise UsageError(
            f"'{folder}' holds what is no part of a synthetic log (for example '{strangers[0]}'), and it is replaced "
            "as a whole; choose another folder."
        )
    tallies = {name: Tally() for name in (*PARTS, "all")}
    with atomic_folder(folder.absolute()) as beside:
        for part in PARTS:
            _write_part(world, part, beside / f"{part}.{form}", tallies, wide)
        if world.settings.history is not None:
            world.users.write_parquet(beside / "users.parquet")
        world.ads.write_parquet(beside / "ads.parquet")
        (beside / "truth").mkdir()
        for name, table in world.hidden_tables().items():
            table.write_parquet(beside / "truth" / f"{name}.parquet")
        (world.schema if wide else world.table_schema).save(beside / "schema.json")
        parts = "".join(f'{part} = "{part}.{form}"\n' for part in PARTS)
        (beside / "world.toml").write_text(f'name = "world"\n{parts}schema = "schema.json"\n', encoding="utf-8")
        truth = msgspec.json.format(msgspec.json.encode(world.truth_with(tallies)), indent=2)
        (beside / "truth" / "truth.json").write_bytes(truth + b"\n")
        (beside / "truth" / "settings.json").write_bytes(msgspec.json.format(world.describe(), indent=2) + b"\n")
    return folder


def _write_part(world: AdWorld, part: str, path: Path, tallies: dict[str, Tally], wide: bool) -> None:
    def cells(block: Block) -> pl.DataFrame:
        log = frame_of_block(block, world.settings)
        return world.widened(log) if wide else log

    def frames() -> Iterator[pl.DataFrame]:
        for block in world.blocks(part):
            tallies[part].add(block.logit, block.click)
            tallies["all"].add(block.logit, block.click)
            yield cells(block)

    if path.suffix == ".csv":
        with path.open("wb") as file:
            for i, frame in enumerate(frames()):
                _flat(frame).write_csv(file, include_header=i == 0)
    else:
        empty = next(world.blocks("all")).slice(0, 0)
        _lazy(frames, cells(empty).schema).sink_parquet(path)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return lists and vectors as text."""
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    arrays = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Array)]
    joined = [pl.col(name).cast(pl.List(pl.String)).list.join("|") for name in lists]
    vectors = [pl.concat_str(pl.lit("["), _text(pl.col(name)), pl.lit("]")).alias(name) for name in arrays]
    return frame.with_columns(*joined, *vectors)


def _text(vector: pl.Expr) -> pl.Expr:
    return vector.arr.to_list().cast(pl.List(pl.String)).list.join(",")


def _lazy(frames: Callable[[], Iterator[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    def source(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        del columns, predicate, most, size  # a sink asks for everything
        yield from frames()

    return register_io_source(source, schema=schema)
