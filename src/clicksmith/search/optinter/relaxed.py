"""The relaxed search: all operations of all pairs at once, and architecture weights that choose among them."""

import math
from typing import Any

import msgspec

from clicksmith.encode.crossed import Crossed
from clicksmith.encode.crosses import FIRST, Cross, CrossOf, fit_crosses
from clicksmith.encode.store import Store
from clicksmith.errors import DivergedError, UsageError
from clicksmith.fields.pairs import OPS, Pair, RelaxedModule, RelaxedPairs
from clicksmith.fitting.asked import new_model
from clicksmith.models.planned import pairs_to
from clicksmith.search.knobs import KnobBatches, apart, knob_gradients, knob_loss
from clicksmith.search.method import Asked
from clicksmith.search.optinter.options import OptInter
from clicksmith.train.dense import DenseOptimizer
from clicksmith.train.hook import Hook
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train

LOWER = "Use a lower --search.alpha-rate, or a lower learning rate."


class AlphaHook(Hook):
    """Moves the architecture weights with an Adam of their own, and cools the temperature.

    joint: with the gradient of the training batch. bilevel: of the next held-out batch, after the weights moved.
    """

    def __init__(self, options: OptInter, module: RelaxedModule, held: KnobBatches | None) -> None:
        self.options, self.module, self.held = options, module, held

    def asked(self) -> Any:
        """Return the options."""
        return msgspec.to_builtins(self.options)

    def attach(self, stepper: Stepper) -> None:
        """Keep the stepper: it computes the loss of held-out batches. The weights are on their device now."""
        self.stepper = stepper
        self.adam = DenseOptimizer("adam", [self.module.alpha])

    def before_update(self, step: int, rate: float) -> None:  # noqa: ARG002
        """Set the temperature; move the architecture weights if the batch is theirs too."""
        self.module.temperature.fill_(max(0.01, 1.0 - self.options.cooling * step))
        if self.held is None:
            self._move(step)
        self.module.alpha.grad = None

    def after_step(self, step: int, rate: float) -> None:  # noqa: ARG002
        """Move the architecture weights on held-out rows."""
        if self.held is not None:
            with apart(self.stepper.model):
                loss = knob_loss(self.stepper, self.held.batch(step - 1))
                (self.module.alpha.grad,) = knob_gradients(loss, [self.module.alpha])
            self._move(step)
            self.module.alpha.grad = None

    def state(self) -> dict[str, Any]:
        """Return Adam's moments."""
        return {"adam": self.adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.adam.load_state_dict(state["adam"])

    def _move(self, step: int) -> None:
        self.adam.step(self.options.alpha_rate)
        if step % 64 == 1 and not bool(self.module.alpha.isfinite().all()):
            raise DivergedError(f"an architecture weight is not finite at step {step}. {LOWER}")


def searched(asked: Asked, options: OptInter, pairs: tuple[Pair, ...], seed: int) -> dict[Pair, str]:
    """Return the operation of each pair: the largest architecture weight of the best epoch.

    A pair without a value that training met often enough has nothing to memorise: it is naive then, and that is said.
    """
    crosses = hashed(asked.train, options, pairs, seed)
    rare = {cross.of.fields for cross in crosses if not len(cross.counts)}
    for pair in sorted(rare):
        told = " x ".join(pair)
        asked.progress.noted(
            f"no pair of values of {told} occurs {options.min_count} times in training: it is not memorised"
        )
    for line in crowded(crosses, asked.train):
        asked.progress.said(line)
    part = RelaxedPairs(pairs=pairs, dim=options.dim, std=options.std, to=pairs_to(asked.spec), gumbel=options.gumbel)
    spec = msgspec.structs.replace(asked.spec, transforms=(*asked.spec.transforms, part))
    rows, judged = Crossed(asked.train, crosses), Crossed(asked.valid, crosses)
    model = new_model(spec, rows.layout, seed)
    module = next(m for m in model.modules() if isinstance(m, RelaxedModule))
    settings = msgspec.structs.replace(
        asked.settings, epochs=options.epochs, steps=None, patience=None, restore_best=True, seed=seed
    )
    held = None
    if asked.knobs is not None:
        held = KnobBatches(
            Crossed(asked.knobs, crosses), settings.batch_size, seed=seed, negative_rate=settings.negative_rate
        )
    train(
        model, rows, judged, settings, run_dir=asked.folder / f"training {seed}", progress=asked.progress,
        hook=AlphaHook(options, module, held),
    )  # fmt: skip
    alpha = module.alpha.detach().cpu()
    if not bool(alpha.isfinite().all()):
        raise DivergedError(f"an architecture weight is not finite. {LOWER}")
    ops = {pair: OPS[int(i)] for pair, i in zip(pairs, alpha.argmax(1), strict=True)}
    return {pair: "naive" if op == "memorise" and pair in rare else op for pair, op in ops.items()}


def hashed(store: Store, options: OptInter, pairs: tuple[Pair, ...], seed: int) -> tuple[Cross, ...]:
    """Return hashed crosses that have at most `options.rows` rows together.

    A pair gets four buckets per pair of values that could be there, or the budget's equal share if that is less.
    """
    share = options.rows // len(pairs) - FIRST
    if share < FIRST:
        raise UsageError(
            f"{options.rows} rows for {len(pairs)} pairs are too few; --search.rows {2 * FIRST * len(pairs)} is the "
            "smallest, or search fewer --search.pairs."
        )
    sizes = {c.name: store.layout.rows[c.slot] for c in store.layout.ids}
    wanted = [
        CrossOf(
            fields=pair, index="hash", min_count=options.min_count, seed=seed,
            buckets=max(FIRST, min(share, 4 * min(store.rows, sizes[pair[0]] * sizes[pair[1]]))),
        )
        for pair in pairs
    ]  # fmt: skip
    return fit_crosses(store, wanted)


def crowded(crosses: tuple[Cross, ...], store: Store) -> list[str]:
    """Return what to say of collisions: the share of distinct keys that meet another one, from filled buckets.

    A key meets another one as often as a bucket is filled. Of buckets that are too rare to be kept the least number is
    taken that could hold their rows, which is exact up to a min_count of 2.
    """
    rates = []
    for cross in crosses:
        filled = len(cross.counts) + math.ceil(cross.unseen / max(1, cross.of.min_count - 1))
        rates.append(max(0, filled - 1) / (cross.of.buckets or 1))
    worst = max(range(len(rates)), key=rates.__getitem__)
    name = " x ".join(crosses[worst].of.fields)
    return [
        f"hashed crosses: {sum(c.rows for c in crosses):,} rows for {store.rows:,} training rows; of the pairs of "
        f"values about {sum(rates) / len(rates):.1%} share a bucket, of {name} {rates[worst]:.1%}"
    ]
