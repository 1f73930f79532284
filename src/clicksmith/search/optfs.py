"""OptFS: a gate per feature, hardened by a rising temperature (Lyu et al., WWW 2023, section 3).

The gate of id i is `sigmoid(T c_i) / sigmoid(c_0)`, so at temperature T = 1 and c = c_0 the model is the plain one. The
loss has `penalty * sum_i sigmoid(T c_i)` besides, over the whole vocabulary: a rare feature must pay as well. T rises
from 1 to `temperature` over the epochs; at the end a feature is kept if c_i > 0.
"""

from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from clicksmith.batch.loader import Loader
from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, DivergedError, UsageError
from clicksmith.files import atomic_file, save_tensors
from clicksmith.fitting.asked import new_model
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.plan import Plan
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST, AnyPart, KeptFeatures, KeptFields
from clicksmith.search.emptied import emptied, left_without
from clicksmith.search.gates import FROZEN, DenseGates, FeatureGate, FeatureGateModule, LazyGates, lowered
from clicksmith.search.method import LARGEST, Asked, Controls, Method, Options, changed, require_values
from clicksmith.search.rewound import rewound
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.hook import Hook
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train

GATE = "embedder.gate."
ALL = 0.999
"""A share of features above this is as good as all."""
STRIDE = 7.3
"""Learning rates by which a step of Adam moves a number at most: Cauchy's inequality for its means, of .9 and .999."""


class OptFS(Options, frozen=True):
    """Options of `clicksmith search optfs`. Paper: optfs, section 3."""

    epochs: int = 5
    """Epochs of the search; the temperature reaches its end in the last."""
    penalty: float = 3e-5
    """What a feature that is kept costs (the paper's lambda): larger keeps fewer. It acts against the gradients of the
    log-loss and Adam's epsilon, so it must be tried."""
    temperature: float = 1000.0
    """The last temperature (the paper's gamma)."""
    start: float = 0.5
    """c_0, where every gate begins."""
    gate_update: Literal["dense", "lazy"] = "dense"
    """dense: Adam on all gates in every step, exact. lazy: SGD whose steps cost what the batch holds, for vocabularies
    of many millions; its learning rate is another, see gate_rate."""
    gate_rate: float | None = None
    """Learning rate of the gates; none: that of the weights."""
    rewind: int | None = None
    """Leave a start file with the weights as they were when this epoch (from 0) began; 0 is the first weights."""
    dropped_to: Literal["zero", "unseen"] = "zero"
    """What a dropped feature becomes: a vector of zeros, or forgotten."""
    drop_from_history: bool = False
    """Whether histories leave dropped items out, instead of holding zeros in their places."""
    drop_empty_fields: bool = False
    """Whether a field of which nothing is kept leaves the model. Numbers then have a gate as well, one per field."""

    def __post_init__(self) -> None:
        """Check every option."""
        self.at_least(epochs=1, penalty=0, temperature=1)
        self.at_most(penalty=LARGEST, temperature=LARGEST)
        if not 0 < self.start <= LARGEST:
            raise UsageError(
                f"start is {self.start}; it must be above 0 (a gate at 0 is dropped already) and at most {LARGEST:g}."
            )
        if self.gate_rate is not None and not 0 < self.gate_rate <= LARGEST:
            raise UsageError(f"gate_rate is {self.gate_rate}; it must be above 0, and at most {LARGEST:g}.")
        if self.rewind is not None and not 0 <= self.rewind < self.epochs:
            raise UsageError(f"rewind is {self.rewind}; it must be from 0 to {self.epochs - 1}, the last epoch.")
        if self.drop_from_history and self.dropped_to == "unseen":
            raise UsageError(
                "drop_from_history goes with dropped_to=zero: what is forgotten cannot be told from unseen."
            )
        if self.drop_empty_fields and self.rewind is not None:
            raise UsageError(
                "rewind and drop_empty_fields exclude each other: without some fields the model has other shapes than "
                "the weights of the start file."
            )


class GateHook(Hook):
    """Moves the gates by an optimiser of their own, without weight decay, and raises the temperature by the epoch.

    Paper: optfs, section 3.2.
    """

    def __init__(self, options: OptFS, gate: FeatureGateModule, rewind: Path) -> None:
        self.options, self.gate, self.rewind = options, gate, rewind
        self.taken, self.epoch = False, 0

    def asked(self) -> Any:
        """Return the options."""
        return msgspec.to_builtins(self.options)

    def attach(self, stepper: Stepper) -> None:
        """Take the gates over from the trainer's optimisers."""
        self.stepper = stepper
        stepper.optimizers.rows.release(self.gate.store)
        kind = DenseGates if self.options.gate_update == "dense" else LazyGates
        self.mover = kind(self.gate, self.options.penalty)

    def begin_epoch(self, epoch: int) -> None:
        """Set the temperature, G^(e / (E - 1)); keep the weights if a refit is to begin with them."""
        self.epoch = epoch
        temperature = torch.full_like(self.gate.temperature, temperature_at(epoch, self.options))
        if not torch.equal(temperature, self.gate.temperature):  # a resumed epoch goes on, with what it still owes
            self.mover.settle()
            self.gate.temperature.copy_(temperature)
        if epoch == self.options.rewind and not self.taken:
            self.stepper.optimizers.flush()
            own = {n: t.contiguous() for n, t in weights_of(self.stepper.model).items() if not n.startswith(GATE)}
            with atomic_file(self.rewind) as beside:
                save_tensors(beside, own)
            self.taken = True

    def before_update(self, step: int, rate: float) -> None:
        """Move the gates, while the gradients are there."""
        self.mover.step(rate if self.options.gate_rate is None else self.options.gate_rate)
        if step % 64 == 0:
            self._check(step, rate)

    def evaluated(self, entry: dict[str, Any]) -> None:
        """Enter the temperature and the share of features that would be kept now."""
        self.mover.settle()
        self._check(entry["step"], entry["learning_rate"])
        chosen = self.gate.features()
        entry["temperature"] = float(self.gate.temperature)
        entry["kept"] = float((self.gate.gates.detach()[chosen] > 0).double().mean())

    def state(self) -> dict[str, Any]:
        """Return the optimiser's state, and whether the weights of `rewind` are kept already."""
        return {"mover": self.mover.state(), "taken": self.taken}

    def load(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.mover.load(state["mover"])
        self.taken = state["taken"]

    def _check(self, step: int, rate: float) -> None:
        if not all(bool(c.isfinite().all()) for c in (self.gate.gates, *self.gate.numbers)):
            own = self.options.gate_rate
            used = f"learning rate {rate:g}); use a lower one, or" if own is None else f"gate_rate {own:g});"
            raise DivergedError(f"a gate is not finite at step {step} ({used} give a lower --search.gate-rate.")


def temperature_at(epoch: int, options: OptFS) -> float:
    """Return T of an epoch, counted from 0: from 1 to `temperature`, geometrically.

    >>> [round(temperature_at(e, OptFS(epochs=5, temperature=10_000.0))) for e in range(5)]
    [1, 10, 100, 1000, 10000]
    """
    return options.temperature if options.epochs == 1 else options.temperature ** (epoch / (options.epochs - 1))


def gated_spec(spec: ModelSpec, start: float, numbers: tuple[str, ...] = ()) -> ModelSpec:
    """Return the backbone's spec with a gate in front of every id, and of these numbers."""
    gate = FeatureGate(start=start, numbers=numbers)
    return msgspec.structs.replace(spec, embed=msgspec.structs.replace(spec.embed, ids=gate))


def gated(asked: Asked, options: OptFS) -> tuple[CTRModel, FeatureGateModule]:
    """Return the backbone with a gate in front of every id."""
    embed = asked.spec.embed
    if embed.ids is not None:
        raise CompositionError(
            f"optfs puts a gate in front of every id, where the backbone has {embed.ids} already; search with another "
            "backbone."
        )
    require_values(asked.layout, "optfs")
    numbers = tuple(column.name for column in asked.layout.numeric) if options.drop_empty_fields else ()
    if numbers and embed.numeric.fields(numbers) != numbers:
        raise CompositionError(
            f"drop_empty_fields gives every number a gate, and {embed.numeric} makes one field of all numbers; "
            "leave drop_empty_fields out."
        )
    model = new_model(gated_spec(asked.spec, options.start, numbers), asked.layout, asked.seed)
    return model, cast("FeatureGateModule", model.embedder.gate)


def run(asked: Asked, options: OptFS) -> tuple[AnyPart, ...]:
    """Search, and keep the features whose gate is open at the end. Paper: optfs.

    Raises UsageError: no feature is kept, or too few fields for the backbone. DivergedError: the loss or a gate is not
    finite.
    """
    model, gate = gated(asked, options)
    for table in (asked.spec.embed.table, asked.spec.embed.view_table):
        if options.rewind is not None and not isinstance(table, Plain):
            raise CompositionError(
                f"rewinding needs a table with a row per id, which {type(table).__name__} is not; leave rewind out."
            )
    settings = msgspec.structs.replace(
        asked.settings, epochs=options.epochs, steps=None, patience=None, plateau_factor=1.0, restore_best=False
    )
    each = Loader(asked.train, settings.batch_size, seed=settings.seed, negative_rate=settings.negative_rate).steps
    rate = settings.learning_rate if options.gate_rate is None else options.gate_rate
    foretold = stuck(options, each, rate)
    for note in foretold:
        asked.progress.noted(note)
    hook = GateHook(options, gate, asked.folder / "rewind.safetensors")
    try:
        result = train(
            model, asked.train, asked.valid, settings, run_dir=asked.folder / "training", progress=asked.progress,
            hook=hook,
        )  # fmt: skip
    except DivergedError as error:
        raise DivergedError(f"epoch {hook.epoch + 1}, temperature {float(gate.temperature):g}: {error}") from error
    shares = ", ".join(f"{entry['kept']:.1%}" for entry in result.history if "kept" in entry)
    kept = gate.kept()
    counts = {slot: (int(mask.sum()) - FIRST, len(mask) - FIRST) for slot, mask in kept.items()}
    stay, total = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    shut = gate.shut_numbers()
    if stay == 0 and len(shut) == len(gate.names):
        raise UsageError(f"no feature is kept at penalty {options.penalty:g}; use a smaller --search.penalty.")
    asked.progress.said(f"kept after each epoch: {shares}")
    if stay > ALL * total:
        steps = each * options.epochs
        why = f"the penalty {options.penalty:g} is too small for this optimiser; try --search.penalty "
        why += f"{10 * options.penalty or 1e-6:g}"
        if options.penalty and options.gate_update == "dense" and steps * rate < gate.start:
            why = f"a gate falls by about its rate in a step, {steps} steps of {rate:g}, and begins at "
            why += f"{gate.start:g}; try {_faster(options, steps, rate)}"
        elif options.penalty and options.gate_update == "lazy":
            why = f"lazy gates move by SGD, here at {rate:g}; try {_faster(options, steps, rate)}"
        known = f"{stay:,} of {total:,} features are kept (after each epoch: {shares})"
        asked.progress.noted(known if foretold else f"{known}: {why}")
    empty = [slot for slot, (some, of) in counts.items() if of and not some]
    for slot in empty:
        asked.progress.noted(f"of '{slot}' none of {counts[slot][1]:,} features is kept")
    scores = {f"searched_{name}": value for name, value in result.metrics.items()} | {"kept": stay / total}
    parts = _parts(asked, options, kept, empty if options.drop_empty_fields else [], shut, scores)
    if options.rewind is not None:
        asked.leave(rewound(asked.compact(parts), load_file(hook.rewind), kept, gate.scale), parts)
    return parts


def stuck(options: OptFS, each: int, rate: float) -> list[str]:
    """Return a note if it is known before training that gates cannot close, in `each` steps an epoch of this rate.

    Dense gates move by at most `STRIDE` rates in a step. Lazy ones owe the penalty in closed form: so it is known where
    a gate ends that the loss does not move, as that of a feature that never occurs.
    """
    steps = each * options.epochs
    if options.gate_update == "dense":
        fall = STRIDE * rate * steps
        left = options.start - fall
        told = f"no gate can close: {steps:,} steps of {rate:g} lower one by {fall:.2g} at most"
    else:
        left = options.start
        for heat in (temperature_at(epoch, options) for epoch in range(options.epochs)):
            if abs(heat * left) < FROZEN:
                owed = torch.tensor(each * rate * options.penalty * heat**2, dtype=torch.float64)
                left = float(lowered(torch.tensor(heat * left, dtype=torch.float64), owed)) / heat
        told = (
            f"the penalty {options.penalty:g} alone closes no gate: {steps:,} steps of {rate:g} leave it at {left:.3g}"
        )
    advice = f"{told}, and gates begin at {options.start:g}; give {_faster(options, steps, rate)}"
    return [advice] if options.penalty and left > 0 else []


def _faster(options: OptFS, steps: int, rate: float) -> str:
    """Return what closes more gates; a rate is advised at which dense ones could fall twice as far as to 0."""
    if options.gate_update == "dense":
        return f"--search.gate-rate {max(10 * rate, 2 * options.start / steps):.1g}, or more --search.epochs"
    larger = f"a larger --search.penalty than {options.penalty:g}"
    return f"--search.gate-rate {max(10.0, 10 * rate):g}, and {larger} after that"


def _parts(
    asked: Asked,
    options: OptFS,
    kept: dict[str, NDArray[np.bool_]],
    empty: list[str],
    shut: set[str],
    scores: dict[str, float],
) -> tuple[AnyPart, ...]:
    """Return what is kept; fields whose vocabularies are `empty`, and numbers that are shut, are left out whole."""
    by, schema, at = asked.found_by("optfs", options, **scores), asked.encoder.schema, numbering(asked.encoder)
    drop, notes = emptied(schema, asked.layout, empty, shut)
    for note in notes:
        asked.progress.noted(note)
    left = left_without(schema, asked.spec, drop, by)
    masks = {slot: Array(mask) for slot, mask in kept.items() if slot in left}
    features = KeptFeatures(
        slots=masks,
        dropped_to=options.dropped_to,
        drop_from_history=options.drop_from_history,
        numbering={slot: at[slot] for slot in masks},
        found_by=by,
    )
    return (KeptFields(drop=drop, found_by=by), features) if drop else (features,)


def controls(options: OptFS, found: Plan) -> Controls:
    """Return as many features by frequency and by chance; and a warm start, which may be all that is gained."""
    share = round(found.parts[-1].found_by.scores["kept"], 6)
    if not 0 < share <= ALL:
        return {}  # all features would be the same model, and none is no control
    like = {name: value for name, value in changed(options).items() if name in ("dropped_to", "drop_from_history")}
    epochs = options.epochs if options.rewind is None else max(1, options.rewind)
    size = {"share": share, **like}
    return {"frequent": ("frequent", size), "random": ("random", size), "warm": ("warm", {"epochs": epochs})}


METHOD = Method(
    "optfs", "which features (values of fields) to keep: a gate per feature", OptFS, run, controls=controls,
    own_epochs=True,
)  # fmt: skip
