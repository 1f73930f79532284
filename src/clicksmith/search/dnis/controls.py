"""What DNIS must beat: columns cut by the size of the plain model's vectors, and by chance, in the same blocks.

Both leave the plain model's weights for the refit to begin with, as DNIS leaves its own: else a gain of DNIS could be
one of longer training. A uniform smaller vector is `--model.dim`; more epochs of the plain model are the search `warm`.
"""

from typing import Any, Literal, cast

import msgspec
import torch
from torch import Tensor

from clicksmith.embed.mixed import MixedTable
from clicksmith.errors import UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.models.spec import CTRModel
from clicksmith.plan.apply import numbering
from clicksmith.plan.parts import AnyPart, Block, Columns, FoundBy
from clicksmith.search.dnis.blocks import Band, Group, bands_in, check_blocks
from clicksmith.search.dnis.prune import check_share, column_sizes, kept_columns
from clicksmith.search.method import Asked, Method, Options
from clicksmith.train.checkpoint import load_weights, weights_of
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

TABLE = "embedder.columns.table."


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
    warm_epochs: int | None = None
    """Epochs of the plain model, whose best on validation counts; none: it is trained and stopped as it is."""
    start: Literal["inherit", "fresh"] = "inherit"
    """Whether a refit can begin with the plain model's weights."""

    def __post_init__(self) -> None:
        """Check every option."""
        self.at_least(warm_epochs=1)
        check_blocks(self.blocks, rest=self.rest)
        if not 0 <= self.share < 1:
            raise UsageError(f"share is {self.share}; it must be at least 0 and below 1.")


def by_size(asked: Asked, options: Cut) -> tuple[AnyPart, ...]:
    """Train the plain backbone as asked and keep the largest columns of its table."""
    bands = _bands("columns_size", asked, options)
    model = _plain(asked, options)
    store = cast("Any", model.embedder.columns).table.store
    part = _part("columns_size", asked, options, bands, column_sizes(bands, store.weight.detach(), store.starts, None))
    _leave(asked, options, part, model)
    return (part,)


def by_chance(asked: Asked, options: Cut) -> tuple[AnyPart, ...]:
    """Keep columns by chance; the plain backbone is trained for the start file alone."""
    bands = _bands("columns_random", asked, options)
    random = torch.Generator().manual_seed(asked.seed)
    sizes = torch.rand(len(bands), asked.spec.embed.dim, generator=random, dtype=torch.float64)
    part = _part("columns_random", asked, options, bands, sizes)
    if options.start == "inherit":
        _leave(asked, options, part, _plain(asked, options))
    return (part,)


def _bands(name: str, asked: Asked, options: Cut) -> list[Band]:
    bands, _ = bands_in(asked, options.blocks, method=name, group=options.group, rest=options.rest)
    check_share(bands, asked.spec.embed.dim, options.share)
    return bands


def warm_settings(settings: TrainSettings, warm_epochs: int | None) -> TrainSettings:
    """Return how the plain model is trained before columns are cut."""
    if warm_epochs is None:
        return settings
    return msgspec.structs.replace(settings, epochs=warm_epochs, steps=None, patience=None, plateau_factor=1.0)


def _plain(asked: Asked, options: Cut) -> CTRModel:
    model, settings = (
        new_model(asked.spec, asked.layout, asked.seed),
        warm_settings(asked.settings, options.warm_epochs),
    )
    train(model, asked.train, asked.valid, settings, run_dir=asked.folder / "warm", progress=asked.progress)
    return model


def _part(name: str, asked: Asked, options: Cut, bands: list[Band], sizes: Tensor) -> Columns:
    return columns_part(asked, kept_columns(bands, sizes, options.share), asked.found_by(name, options))


def _leave(asked: Asked, options: Cut, part: Columns, model: CTRModel) -> None:
    if options.start == "inherit":
        compact = asked.compact((part,))
        store = cast("Any", model.embedder.columns).table.store
        inherit(compact, model, store.weight.detach(), store.starts)
        asked.leave(compact, (part,))


def columns_part(asked: Asked, slots: dict[str, tuple[Block, ...]], found: FoundBy) -> Columns:
    """Return the part; it goes by rank on other rows if no Plan before it decided an id."""
    at, known = numbering(asked.encoder), asked.encoder.fitted.vocabularies
    ranked = all(known[slot].remap is None for slot in slots)
    return Columns(
        dim=asked.spec.embed.dim, slots=slots, ranked=ranked, numbering={s: at[s] for s in slots}, found_by=found
    )


@torch.no_grad()
def inherit(compact: CTRModel, model: CTRModel, weight: Tensor, starts: dict[str, int]) -> None:
    """Give a model under the Plan the weights of `model`, and of `weight`, the rows of its main table, what stays."""
    weights = {name: tensor for name, tensor in weights_of(model).items() if not name.startswith(TABLE)}
    own = cast("MixedTable", cast("Any", compact.embedder.columns).table)
    own.fill(weight, starts)
    load_weights(compact, weights | {n: t for n, t in weights_of(compact).items() if n.startswith(TABLE)})


SIZE = Method("columns_size", "control of dnis: cut the columns by the size of the plain model's vectors", Cut, by_size)
RANDOM = Method("columns_random", "control of dnis: cut columns by chance", Cut, by_chance)
