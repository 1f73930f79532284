"""What DNIS must beat: columns cut by the size of the plain model's vectors, and by chance, in the same blocks.

A uniform smaller vector is `--model.dim`; more epochs of the plain model are the search `warm`.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from clicksmith.errors import UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.plan.apply import numbering
from clicksmith.plan.parts import AnyPart, Columns
from clicksmith.search.dnis.blocks import Band, Group, bands_in, check_blocks
from clicksmith.search.dnis.prune import column_sizes, kept_columns
from clicksmith.search.method import Asked, Method, Options
from clicksmith.train.trainer import train


class Cut(Options, frozen=True):
    """How much is cut, in which blocks: as for DNIS."""

    share: float = 0.5
    """The share of the table's values that is cut, at least."""
    blocks: tuple[float, ...] = (0.1, 0.2, 0.2, 0.2, 0.3)
    """Shares of the features in each block, the most frequent first; or numbers of features."""
    rest: bool = False
    """Whether one more block takes the features that the blocks leave."""
    group: Group = "global"
    """Blocks over the features of all fields together, or in each field."""

    def __post_init__(self) -> None:
        """Check every option."""
        check_blocks(self.blocks, rest=self.rest)
        if not 0 <= self.share < 1:
            raise UsageError(f"share is {self.share}; it must be at least 0 and below 1.")


def by_size(asked: Asked, options: Cut) -> tuple[AnyPart, ...]:
    """Train the plain backbone as asked and keep the largest columns of its table."""

    def sizes(bands: list[Band]) -> Tensor:
        model = new_model(asked.spec, asked.layout, asked.seed)
        train(model, asked.train, asked.valid, asked.settings, run_dir=asked.folder / "warm", progress=asked.progress)
        store = cast("Any", model.embedder.columns).table.store
        return column_sizes(bands, store.weight.detach(), store.starts, None)

    return _cut("columns_size", asked, options, sizes)


def by_chance(asked: Asked, options: Cut) -> tuple[AnyPart, ...]:
    """Keep columns by chance."""

    def sizes(bands: list[Band]) -> Tensor:
        random = torch.Generator().manual_seed(asked.seed)
        return torch.rand(len(bands), asked.spec.embed.dim, generator=random, dtype=torch.float64)

    return _cut("columns_random", asked, options, sizes)


def _cut(name: str, asked: Asked, options: Cut, sizes: Callable[[list[Band]], Tensor]) -> tuple[AnyPart, ...]:
    bands, _ = bands_in(asked, options.blocks, method=name, group=options.group, rest=options.rest)
    slots = kept_columns(bands, sizes(bands), options.share)
    at, found = numbering(asked.encoder), asked.found_by(name, options)
    dim = asked.spec.embed.dim
    return (Columns(dim=dim, slots=slots, ranked=True, numbering={s: at[s] for s in slots}, found_by=found),)


SIZE = Method("columns_size", "control of dnis: cut the columns by the size of the plain model's vectors", Cut, by_size)
RANDOM = Method("columns_random", "control of dnis: cut columns by chance", Cut, by_chance)
