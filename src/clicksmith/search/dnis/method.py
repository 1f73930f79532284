"""The search: a plain warm start, then steps on the weights and on alpha by turns; the smallest products are cut."""

from typing import Any, Literal, cast

import msgspec
import torch
from torch import Tensor

from clicksmith.batch.batch import Batch
from clicksmith.embed.rows import row_stores
from clicksmith.embed.table import Plain
from clicksmith.encode.store import Store
from clicksmith.errors import DivergedError, UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.models.spec import CTRModel
from clicksmith.plan import Plan
from clicksmith.plan.parts import FIRST, AnyPart
from clicksmith.search.dnis import bilevel
from clicksmith.search.dnis.blocks import Band, Group, bands_in, check_blocks
from clicksmith.search.dnis.controls import Cut, columns_part, inherit, warm_settings
from clicksmith.search.dnis.layer import Soft, SoftBlock, SoftTable
from clicksmith.search.dnis.prune import check_share, column_sizes, kept_columns, kept_values
from clicksmith.search.knobs import KnobBatches, knob_gradients, knob_loss
from clicksmith.search.method import LARGEST, Asked, Controls, Method, Options, changed
from clicksmith.train.hook import Hook
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train


class DNIS(Options, frozen=True):
    """Options of `clicksmith search dnis`. Paper: dnis."""

    share: float = 0.5
    """The share of the table's values that is cut, at least."""
    blocks: tuple[float, ...] = (0.1, 0.2, 0.2, 0.2, 0.3)
    """Shares of the features in each block, the most frequent first; or numbers of features."""
    rest: bool = False
    """Whether one more block takes the features that the blocks leave."""
    group: Group = "global"
    """Blocks over the features of all fields together, or in each field."""
    warm_epochs: int | None = None
    """Epochs of the warm start, whose best on validation counts; none: it is trained and stopped as the backbone is,
    too early where validation falls before it rises."""
    epochs: int = 2
    """Epochs that move alpha, after the warm start."""
    rate: float = 0.01
    """How far a step moves the alpha of a block, on average; 1 is all of its range."""
    l1: float = 1e-5
    """Pull of every alpha towards 0, beside a gradient of mean size 1."""
    order: Literal["first", "second"] = "first"
    """Whether alpha's gradient also follows what it does to the next weights."""
    update: Literal["table", "all"] = "table"
    """Whether the network stays as the warm start left it while alpha moves."""
    knob_share: float = 0.2
    """The share of the training rows that train alpha instead of the weights."""
    start: Literal["inherit", "fresh"] = "inherit"
    """Whether a refit can begin with the weights found, alpha multiplied in."""

    def __post_init__(self) -> None:
        """Check every option."""
        self.at_least(warm_epochs=1, epochs=1, rate=0, l1=0)
        self.at_most(rate=1, l1=LARGEST)
        check_blocks(self.blocks, rest=self.rest)
        if not 0 <= self.share < 1:
            raise UsageError(f"share is {self.share}; it must be at least 0 and below 1.")
        if not 0 < self.knob_share < 1:
            raise UsageError(f"knob_share is {self.knob_share}; it must be above 0 and below 1.")


class AlphaHook(Hook):
    """Moves alpha before each step of the weights, on a batch of rows of its own."""

    def __init__(
        self,
        options: DNIS,
        table: SoftTable,
        rows: Store,
        knobs: Store,
        *,
        batch_size: int,
        seed: int,
        negative_rate: float = 1.0,
    ) -> None:
        self.options, self.alpha = options, table.alpha
        self.batches = KnobBatches(knobs, batch_size, seed=seed, negative_rate=negative_rate)
        self.inner = KnobBatches(rows, batch_size, seed=seed + 1, negative_rate=negative_rate)
        self.alpha.requires_grad_(False)  # the training rows do not move it
        self.digest = knobs.digest

    def asked(self) -> Any:
        """Return the options and the rows."""
        return {**msgspec.to_builtins(self.options), "knobs": self.digest}

    def attach(self, stepper: Stepper) -> None:
        """Remember the training."""
        self.stepper = stepper

    def before_update(self, step: int, rate: float) -> None:
        """Move alpha. The model is in evaluation mode meanwhile: running means and random numbers stay as they were."""
        batch, model = self.batches.batch(step - 1), self.stepper.model
        model.eval()
        self.alpha.requires_grad_(True)
        try:
            grad = self._gradient(batch, step, rate)
        finally:
            self.alpha.requires_grad_(False)
            model.train()
        try:
            bilevel.move(self.alpha, grad, rate=self.options.rate, l1=self.options.l1)
        except DivergedError as error:
            raise DivergedError(f"step {step}, learning rate {rate:g}: {error}") from error

    def _gradient(self, batch: Batch, step: int, rate: float) -> Tensor:
        def loss() -> Tensor:
            return knob_loss(self.stepper, batch)

        if self.options.order == "first":
            return knob_gradients(loss(), [self.alpha])[0]
        seen = self.inner.batch(step - 1)

        def own() -> Tensor:
            return knob_loss(self.stepper, seen)

        return bilevel.second_order(own, loss, self.stepper.model, self.alpha, rate)


def softened(asked: Asked, bands: list[Band]) -> tuple[CTRModel, SoftTable]:
    """Return the backbone with a soft selection layer behind its main table."""
    embed = asked.spec.embed
    blocks = tuple(SoftBlock(b.slot, b.first, b.last, b.row) for b in bands)
    soft = msgspec.structs.replace(embed, table=Soft(blocks=blocks, inner=cast("Plain", embed.table)))
    model = new_model(msgspec.structs.replace(asked.spec, embed=soft), asked.layout, asked.seed)
    columns = model.embedder.columns
    return model, cast("SoftTable", None if columns is None else columns.table)


def run(asked: Asked, options: DNIS) -> tuple[AnyPart, ...]:
    """Search, and cut the columns of the smallest products. Paper: dnis, section 4.

    Raises UsageError: nothing would be left. CompositionError: the backbone has no vectors. DivergedError: a loss or a
    gradient is not finite.
    """
    bands, notes = bands_in(asked, options.blocks, method="dnis", group=options.group, rest=options.rest)
    check_share(bands, asked.spec.embed.dim, options.share)
    for note in notes:
        asked.progress.noted(note)
    model, table = softened(asked, bands)
    bands = [band for band in bands if band.slot in table.inner.store.starts]  # a part may keep a table of its own
    metrics, epochs = _train(asked, options, model, table)
    if not bool(table.alpha.detach().any()):
        raise UsageError(f"l1 is {options.l1:g}, rate {options.rate:g}, and every alpha ended at 0; give smaller ones.")
    weight, starts = table.inner.store.weight.detach(), table.inner.store.starts
    slots = kept_columns(bands, column_sizes(bands, weight, starts, table.alpha.detach()), options.share)
    for slot, blocks in slots.items():
        if not any(block.columns for block in blocks):
            asked.progress.noted(f"'{slot}' loses all columns: its {blocks[-1].last - FIRST:,} features share zeros")
    whole = sum(band.last - band.first for band in bands) * asked.spec.embed.dim
    scores = {f"searched_{name}": value for name, value in metrics.items()} | {"kept": kept_values(slots) / whole}
    scores["epochs"] = float(epochs)
    part = columns_part(asked, slots, asked.found_by("dnis", options, **scores))
    if options.start == "inherit":
        compact = asked.compact((part,))
        inherit(compact, model, folded(table, bands), starts)
        asked.leave(compact, (part,))
    return (part,)


def _train(asked: Asked, options: DNIS, model: CTRModel, table: SoftTable) -> tuple[dict[str, float], int]:
    """Train the weights plainly, then weights and alpha by turns; return the best metrics, and all epochs."""
    knobs = cast("Store", asked.knobs)
    table.alpha.requires_grad_(False)
    warm = warm_settings(asked.settings, options.warm_epochs)
    plain = train(model, asked.train, asked.valid, warm, run_dir=asked.folder / "warm", progress=asked.progress)
    if options.update == "table":
        tables = {id(store.weight) for store in row_stores(model)}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in tables)
    settings = msgspec.structs.replace(asked.settings, epochs=options.epochs, steps=None)
    hook = AlphaHook(
        options, table, asked.train, knobs, batch_size=settings.batch_size, seed=asked.seed,
        negative_rate=settings.negative_rate,
    )  # fmt: skip
    result = train(
        model, asked.train, asked.valid, settings, run_dir=asked.folder / "training", progress=asked.progress, hook=hook
    )
    asked.progress.said(
        "alpha by block: " + ", ".join(f"{float(mean):.2f}" for mean in table.alpha.detach().mean(1)[:12])
    )
    return result.metrics, plain.epochs + result.epochs


@torch.no_grad()
def folded(table: SoftTable, bands: list[Band]) -> Tensor:
    """Return the rows of the table with alpha multiplied in."""
    store = table.inner.store
    weight = store.weight.detach().clone()
    for band in bands:
        at = store.starts[band.slot]
        weight[at + band.first : at + band.last] *= table.alpha[band.row]
    return weight


def controls(options: DNIS, found: Plan) -> Controls:
    """Return the same cut by the size of E and by chance, and the plain model with as many more epochs."""
    cut = changed(Cut(**{name: getattr(options, name) for name in Cut.__struct_fields__}))
    return {
        "columns_size": ("columns_size", cut),
        "columns_random": ("columns_random", cut),
        "warm": ("warm", {"epochs": int(found.parts[-1].found_by.scores["epochs"])}),
    }


METHOD = Method(
    "dnis",
    "which columns the vectors of frequent and rare features need",
    DNIS,
    run,
    controls=controls,
    knob_share=lambda options: options.knob_share,
)
