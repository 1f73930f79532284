"""OptFS: a gate per feature, hardened by a rising temperature (Lyu et al., WWW 2023, section 3).

The gate of id i is `sigmoid(T c_i) / sigmoid(c_0)`, so at temperature T = 1 and c = c_0 the model is the plain one. The
loss has `penalty * sum_i sigmoid(T c_i)` besides, over the whole vocabulary: a rare feature must pay as well. T rises
from 1 to `temperature` over the epochs; at the end a feature is kept if c_i > 0.
"""

import math
from typing import Any, Literal, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import Knobs
from clicksmith.embed.sockets import IdGate
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import CompositionError, DivergedError, UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.models.spec import CTRModel
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST, AnyPart, KeptFeatures
from clicksmith.search.method import Asked, Method, Options
from clicksmith.train.hook import Hook
from clicksmith.train.step import Stepper
from clicksmith.train.trainer import train


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
    dropped_to: Literal["zero", "unseen"] = "zero"
    """What a dropped feature becomes: a vector of zeros, or forgotten."""

    def __post_init__(self) -> None:
        """Check every option."""
        self.at_least(epochs=1, penalty=0, temperature=1)
        if not 0 < self.start < math.inf:
            raise UsageError(f"start is {self.start}; it must be above 0: a gate at 0 is dropped already.")


class FeatureGate(IdGate, frozen=True):
    """A gate per id, in front of the main table, every view and every history. Paper: optfs, section 3.1."""

    start: float = 0.5

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        """Return the module."""
        return FeatureGateModule(slots, self.start)


class FeatureGateModule(nn.Module):
    """`sigmoid(T c) / sigmoid(c_0)`.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, 1]
    """

    def __init__(self, slots: tuple[tuple[str, int], ...], start: float) -> None:
        super().__init__()
        self.starts: dict[str, int] = {}
        total = 0
        for name, rows in slots:
            self.starts[name] = total
            total += rows
        self.slots = slots
        self.start = start
        self.knobs = Knobs(gates=nn.Parameter(torch.full((total, 1), start)), temperature=torch.tensor(1.0))
        self.scale = 1.0 / _sigmoid(start)

    @property
    def gates(self) -> nn.Parameter:
        """The c of every id: [ids of all slots, 1]."""
        return cast("nn.Parameter", self.knobs.gates)

    @property
    def temperature(self) -> Tensor:
        """T, a number."""
        return cast("Tensor", self.knobs.temperature)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look the gates up: per id, never over the vocabulary."""
        offsets = torch.tensor([self.starts[slot] for slot in slots], dtype=torch.int64, device=ids.device)
        rows = nn.functional.embedding(ids.long() + offsets, self.gates)
        return torch.sigmoid(self.temperature * rows) * self.scale

    def kept(self) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Return, by slot, whether each id is kept; padding and unseen always are."""
        found: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = {}
        for name, rows in self.slots:
            at = self.starts[name]
            kept = (self.gates[at : at + rows, 0] > 0).cpu().numpy()
            kept[:FIRST] = True
            found[name] = kept
        return found

    def features(self) -> Tensor:
        """Return which rows of `gates` belong to features: not padding, not unseen: [ids of all slots, 1] bool."""
        chosen = torch.ones_like(self.gates, dtype=torch.bool)
        for name, _ in self.slots:
            chosen[self.starts[name] : self.starts[name] + UNSEEN + 1] = False
        return chosen


class GateHook(Hook):
    """Moves the gates with an Adam of their own, without weight decay, and raises the temperature epoch by epoch.

    Paper: optfs, section 3.2.
    """

    def __init__(self, options: OptFS, gate: FeatureGateModule) -> None:
        self.options, self.gate = options, gate
        self.adam = torch.optim.Adam([gate.gates], fused=True)
        self.features = gate.features()

    def asked(self) -> Any:
        """Return the options."""
        return msgspec.to_builtins(self.options)

    def attach(self, stepper: Stepper) -> None:
        """Follow the model to its device."""
        self.features = self.features.to(stepper.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the temperature: G^(e / (E - 1))."""
        self.gate.temperature.fill_(temperature_at(epoch, self.options))

    @torch.no_grad()
    def before_update(self, step: int, rate: float) -> None:
        """Add the gradient of the penalty, exactly and over the whole vocabulary, and move the gates."""
        c, heat = self.gate.gates, float(self.gate.temperature)
        shut = torch.sigmoid(heat * c)
        penalty = self.options.penalty * heat * shut * (1 - shut) * self.features
        c.grad = penalty if c.grad is None else c.grad.add_(penalty)
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        c.grad = None
        if step % 64 == 0 and not bool(c.isfinite().all()):
            raise DivergedError(
                f"a gate is not finite at step {step}, temperature {heat:g}. Use a lower learning rate."
            )

    def state(self) -> dict[str, Any]:
        """Return Adam's moments."""
        return {"adam": self.adam.state_dict()["state"]}

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        moments = {int(i): entry for i, entry in state["adam"].items()}
        self.adam.load_state_dict({"state": moments, "param_groups": self.adam.state_dict()["param_groups"]})


def temperature_at(epoch: int, options: OptFS) -> float:
    """Return T of an epoch, counted from 0: from 1 to `temperature`, geometrically.

    >>> [round(temperature_at(e, OptFS(epochs=5, temperature=10_000.0))) for e in range(5)]
    [1, 10, 100, 1000, 10000]
    """
    return options.temperature if options.epochs == 1 else options.temperature ** (epoch / (options.epochs - 1))


def gated(asked: Asked, options: OptFS) -> tuple[CTRModel, FeatureGateModule]:
    """Return the backbone with a gate in front of every id."""
    embed = asked.spec.embed
    if embed.ids is not None:
        raise CompositionError(f"optfs puts a gate in front of every id, where the backbone has {embed.ids} already.")
    if not asked.layout.slots:
        raise UsageError("optfs chooses among values of fields, and the data has only numbers; use `clicksmith rank`.")
    spec = msgspec.structs.replace(
        asked.spec, embed=msgspec.structs.replace(embed, ids=FeatureGate(start=options.start))
    )
    model = new_model(spec, asked.layout, asked.seed)
    return model, cast("FeatureGateModule", model.embedder.gate)


def run(asked: Asked, options: OptFS) -> tuple[AnyPart, ...]:
    """Search, and keep the features whose gate is open at the end. Paper: optfs.

    Raises UsageError: no feature is kept. DivergedError: the loss or a gate is not finite.
    """
    model, gate = gated(asked, options)
    settings = msgspec.structs.replace(
        asked.settings, epochs=options.epochs, steps=None, patience=None, plateau_factor=1.0, restore_best=False
    )
    result = train(
        model, asked.train, asked.valid, settings, run_dir=asked.folder / "training", progress=asked.progress,
        hook=GateHook(options, gate),
    )  # fmt: skip
    kept = gate.kept()
    counts = {slot: (int(mask.sum()) - FIRST, len(mask) - FIRST) for slot, mask in kept.items()}
    stay, total = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    if stay == 0:
        raise UsageError(f"no feature is kept at penalty {options.penalty:g}; use a smaller --search.penalty.")
    if stay == total:
        asked.progress.said(
            f"note: every feature is kept: the penalty {options.penalty:g} is too small for this optimiser; try "
            f"--search.penalty {10 * options.penalty or 1e-6:g}"
        )
    for slot, (some, of) in counts.items():
        if of and not some:
            asked.progress.said(f"note: of '{slot}' none of {of:,} features is kept")
    at = numbering(asked.encoder)
    scores = {f"searched_{name}": value for name, value in result.metrics.items()} | {"kept": stay / total}
    part = KeptFeatures(
        slots={slot: Array(mask) for slot, mask in kept.items()},
        dropped_to=options.dropped_to,
        numbering={slot: at[slot] for slot in kept},
        found_by=asked.found_by("optfs", options, **scores),
    )
    return (part,)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


METHOD = Method("optfs", "which features (values of fields) to keep: a gate per feature", OptFS, run)
