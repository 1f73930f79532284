"""The ad world: a simulator of impression logs whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.datasets.ad_world.hidden import Hidden, build_hidden
from clicksmith.datasets.ad_world.rows import BLOCK, Block, RowMaker, bias_for
from clicksmith.datasets.ad_world.settings import AdWorldSettings
from clicksmith.datasets.ad_world.tables import ads_table, frame_of_block, hidden_tables, schema_of, users_table
from clicksmith.datasets.ad_world.truth import Tally, Truth, truth_of
from clicksmith.datasets.ad_world.write import write_world
from clicksmith.errors import UsageError
from clicksmith.names import lookup
from clicksmith.schema import Schema

SHARES: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
"""The parts, one after another in time."""


class AdWorld:
    """A simulated log of `rows` impressions.

    Rows are made when they are asked for, never kept. Row i is the same for every way of asking, and for any other
    number of rows but for its time and, with drift, for what depends on it.
    """

    def __init__(self, *, rows: int, seed: int, settings: AdWorldSettings) -> None:
        if rows < 1:
            raise UsageError(f"rows is {rows}; an ad world needs at least 1.")
        if seed < 0:
            raise UsageError(f"seed is {seed}; it must be 0 or more.")
        self.rows, self.seed, self.settings = rows, seed, settings
        self.hidden: Hidden = build_hidden(settings, seed)
        level = bias_for(RowMaker(settings, self.hidden, seed, BLOCK))
        self._maker = RowMaker(settings, self.hidden, seed, rows, level)

    @property
    def schema(self) -> Schema:
        """The schema of `frame()`: one wide table."""
        return schema_of(self.settings, tables=False)

    @property
    def table_schema(self) -> Schema:
        """The schema of a written world: histories and vectors in side tables, once per user and ad."""
        return schema_of(self.settings, tables=True)

    @property
    def users(self) -> pl.DataFrame:
        """Side table of users: user_id and past behaviours."""
        return users_table(self.hidden)

    @property
    def ads(self) -> pl.DataFrame:
        """Side table of ads: ad_id, vector, lifetime."""
        return ads_table(self.settings, self.hidden)

    def hidden_tables(self) -> dict[str, pl.DataFrame]:
        """Return what is hidden of "users" and "ads": communities, interests, effects. Never give it to a model."""
        return hidden_tables(self.settings, self.hidden)

    def part(self, name: str) -> tuple[int, int]:
        """Return the first row of a part and the row after its last: "train", "valid", "test" or "all"."""
        edges = [round(self.rows * share) for share in np.cumsum([0.0, *SHARES.values()])]
        places = {part: (edges[i], edges[i + 1]) for i, part in enumerate(SHARES)}
        return lookup({"all": (0, self.rows), **places}, name, "part")

    def blocks(self, part: str = "all") -> Iterator[Block]:
        """Yield the rows of a part as arrays, with their true logits."""
        first, last = self.part(part)
        yield from self._maker.blocks(first, last)

    def frames(self, part: str = "all") -> Iterator[pl.DataFrame]:
        """Yield the rows of a part as frames of the log, without side tables."""
        for block in self.blocks(part):
            yield frame_of_block(block, self.settings)

    def frame(self, part: str = "all") -> pl.DataFrame:
        """Return the rows of a part as one wide frame, histories and vectors joined."""
        return self.widened(pl.concat(list(self.frames(part))))

    def widened(self, log: pl.DataFrame) -> pl.DataFrame:
        """Return rows of the log with histories and vectors joined."""
        if self.settings.history is not None:
            log = log.join(self.users, on="user_id", how="left", maintain_order="left")
        if self.settings.vectors is not None:
            log = log.join(self.ads.select("ad_id", "image"), on="ad_id", how="left", maintain_order="left")
        return log

    def probabilities(self, part: str = "all") -> NDArray[np.float64]:
        """Return the true click probability of each row of a part: [rows]."""
        return np.concatenate([block.probability for block in self.blocks(part)])

    @cached_property
    def truth(self) -> Truth:
        """What was planted, and the best possible AUC and logloss of the rows (goes through them once)."""
        whole, parts = Tally(), {name: Tally() for name in SHARES}
        for name in SHARES:
            for block in self.blocks(name):
                parts[name].add(block.logit, block.click)
                whole.add(block.logit, block.click)
        return self.truth_with({**parts, "all": whole})

    def truth_with(self, tallies: Mapping[str, Tally]) -> Truth:
        """Return the truth with figures already gathered."""
        bayes = {name: tally.bayes() for name, tally in tallies.items()}
        fields = [*self.schema.field_names, *(b.name for b in self.schema.behaviours)]
        return truth_of(self.settings, self.hidden, fields, bayes)

    def write(self, folder: str | Path, *, form: Literal["parquet", "csv"] = "parquet", wide: bool = False) -> Path:
        """Write train, valid and test, side tables, `schema.json` and the folder `truth`; return the folder.

        `world.toml` declares them as a data set. Memory does not grow with the rows. A wide log holds histories and
        vectors in every row (in a CSV as text cut at '|', and "[0.1,0.2]") and its schema needs no side table.
        """
        return write_world(self, Path(folder), form, wide)

    def describe(self) -> bytes:
        """Return the settings, rows and seed as JSON."""
        return msgspec.json.encode({"rows": self.rows, "seed": self.seed, "settings": self.settings, "block": BLOCK})


def ad_world(rows: int = 100_000, *, seed: int = 0, settings: AdWorldSettings | None = None) -> AdWorld:
    """Return a simulated log of impressions whose truth is known.

    >>> ad_world(1000, seed=1).frame().height
    1000
    """
    return AdWorld(rows=rows, seed=seed, settings=settings or AdWorldSettings())
