"""`FeatureGate`: a multiplier per feature that a temperature hardens; and the two ways to move it."""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.embed.rows import Knobs, RowStore, SlotNumbers
from clicksmith.embed.sockets import IdGate
from clicksmith.encode.layout import UNSEEN
from clicksmith.plan.parts import FIRST
from clicksmith.train.dense import DenseOptimizer

FROZEN = 300.0
"""Beyond this |T c| the penalty's gradient is below 1e-130: the gate stays where it is."""


class FeatureGate(IdGate, frozen=True):
    """A gate per id, in front of the main table, every view and every history. Paper: optfs, section 3.1."""

    start: float = 0.5
    numbers: tuple[str, ...] = ()
    """Numeric columns that have a gate each."""

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        """Return the module."""
        return FeatureGateModule(slots, self.start, self.numbers)


class FeatureGateModule(nn.Module):
    """`sigmoid(T c) / sigmoid(c_0)`. Paper: optfs, section 3.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, 1]
    """

    def __init__(self, slots: tuple[tuple[str, int], ...], start: float, numbers: tuple[str, ...] = ()) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # so that the model draws the weights of the plain one
            self.store = RowStore(slots, 1, group="gate")
        with torch.no_grad():
            self.store.weight.fill_(start)
        self.offsets = SlotNumbers(self.store.starts)
        self.slots, self.start = slots, start
        self.names = numbers
        own = {"numbers": nn.Parameter(torch.full((len(numbers), 1), start))} if numbers else {}
        self.knobs = Knobs(temperature=torch.tensor(1.0), first=torch.tensor([start]), **own)

    @property
    def gates(self) -> nn.Parameter:
        """The c of every id: [ids of all slots, 1]."""
        return self.store.weight

    @property
    def numbers(self) -> tuple[nn.Parameter, ...]:
        """The c of the numeric columns [columns, 1], if they have any."""
        return (cast("nn.Parameter", self.knobs.numbers),) if self.names else ()

    @property
    def temperature(self) -> Tensor:
        """T, a number."""
        return cast("Tensor", self.knobs.temperature)

    @property
    def scale(self) -> float:
        """1 / sigmoid(c_0), which the gate of a feature that is kept reaches."""
        return 1.0 / float(torch.sigmoid(cast("Tensor", self.knobs.first)))

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look the gates up: per id, never over the vocabulary."""
        return self._gate(self.store(ids, self.offsets(slots, ids.device)))

    def of_numbers(self, names: tuple[str, ...]) -> Tensor | None:
        """Return the gates of numeric columns, [columns, 1], if they have any."""
        if not self.names:
            return None
        return self._gate(self.numbers[0][[self.names.index(name) for name in names]])

    def _gate(self, c: Tensor) -> Tensor:
        return torch.sigmoid(self.temperature * c) / torch.sigmoid(cast("Tensor", self.knobs.first))

    def shut_numbers(self) -> set[str]:
        """Return the numeric columns whose gate is not open."""
        values = [c for own in self.numbers for c in own.flatten().tolist()]
        return {name for name, c in zip(self.names, values, strict=True) if c <= 0}

    def kept(self) -> dict[str, NDArray[np.bool_]]:
        """Return, by slot, whether each id is kept; padding and unseen always are."""
        found: dict[str, NDArray[np.bool_]] = {}
        for name, rows in self.slots:
            at = self.store.starts[name]
            kept = (self.gates[at : at + rows, 0] > 0).cpu().numpy()
            kept[:FIRST] = True
            found[name] = kept
        return found

    def features(self) -> Tensor:
        """Return which rows of `gates` belong to features: not padding, not unseen: [ids of all slots, 1] bool."""
        chosen = torch.ones_like(self.gates, dtype=torch.bool)
        for name, _ in self.slots:
            at = self.store.starts[name]
            chosen[at : at + UNSEEN + 1] = False
        return chosen


class DenseGates:
    """Adam on every gate, with the exact gradient of the penalty over the whole vocabulary."""

    def __init__(self, gate: FeatureGateModule, penalty: float) -> None:
        self.gate, self.penalty = gate, penalty
        self.counted = [(gate.gates, gate.features()), *((c, torch.ones_like(c)) for c in gate.numbers)]
        self.adam = DenseOptimizer("adam", [c for c, _ in self.counted])

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every gate."""
        heat = float(self.gate.temperature)
        for c, counted in self.counted:
            penalty = self.penalty * slope(c, heat) * counted
            c.grad = penalty if c.grad is None else c.grad.add_(penalty)
        self.adam.step(rate)
        self.adam.zero_grad()

    def settle(self) -> None:
        """Nothing is owed."""

    def state(self) -> dict[str, Any]:
        """Return Adam's moments."""
        return {"adam": self.adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take them over."""
        self.adam.load_state_dict(state["adam"])


def slope(c: Tensor, heat: float) -> Tensor:
    """Return the derivative of `sigmoid(heat * c)` for c."""
    gate = torch.sigmoid(heat * c)
    return heat * gate * (1 - gate)


class LazyGates:
    """SGD whose steps cost what the batch holds; other gates make up for the penalty when they are read.

    With u = T c, a step of learning rate r takes r * penalty * T^2 off 2 u + 2 sinh(u) (the flow of the penalty's
    gradient, solved). So one number says what every gate owes, whatever the learning rates were. The store's `RowSink`.
    """

    catches_up = True

    def __init__(self, gate: FeatureGateModule, penalty: float) -> None:
        self.gate, self.penalty, self.owed = gate, penalty, 0.0
        self.features = gate.features()[:, 0]
        self.paid = torch.zeros(len(self.features), dtype=torch.float64, device=gate.gates.device)
        self.pending: list[tuple[Tensor, Tensor]] = []
        gate.store.sink = self

    def before(self, rows: Tensor) -> None:
        """Bring gates that are about to be read up to date."""
        rows = torch.unique(rows.long())
        self._pay(rows[rows >= 0])

    def collect(self, rows: Tensor, grad: Tensor) -> None:
        """Keep a gradient for `step`."""
        self.pending.append((rows, grad))

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the gates of the batch; all others owe the penalty of this step."""
        for rows, grad in self.pending:
            real = rows >= 0
            self.gate.gates.detach().index_add_(0, rows[real].long(), grad[real].to(self.gate.gates.dtype), alpha=-rate)
        self.pending.clear()
        for c in self.gate.numbers:  # every batch holds them
            grad = self.penalty * slope(c, float(self.gate.temperature))
            c.sub_(grad if c.grad is None else grad + c.grad, alpha=rate)
            c.grad = None
        self.owed += rate * self.penalty * float(self.gate.temperature) ** 2

    def settle(self) -> None:
        """Bring every gate up to date, as is needed before the temperature changes."""
        self._pay(torch.arange(len(self.paid), device=self.paid.device))

    @torch.no_grad()
    def _pay(self, rows: Tensor) -> None:
        owed = self.owed - self.paid[rows]
        self.paid[rows] = self.owed
        due = (owed > 0) & self.features[rows]
        rows, owed = rows[due], owed[due]
        heat, gates = float(self.gate.temperature), self.gate.gates.detach()
        u = heat * gates[rows, 0].double()
        moved = lowered(u, owed) / heat
        gates[rows, 0] = torch.where(u.abs() < FROZEN, moved, gates[rows, 0].double()).to(gates.dtype)

    def state(self) -> dict[str, Any]:
        """Return what every gate owes and has paid."""
        return {"owed": self.owed, "paid": self.paid}

    def load(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.owed = float(state["owed"])
        self.paid.copy_(state["paid"])


def lowered(u: Tensor, by: Tensor) -> Tensor:
    """Return the v with 2 v + 2 sinh(v) = 2 u + 2 sinh(u) - by, by Newton's method; |u| below 300."""
    y = 2 * u + 2 * torch.sinh(u.clamp(-FROZEN, FROZEN)) - by
    v = torch.asinh(y / 2)  # not nearer to 0 than the root, from where Newton's steps never overshoot
    for _ in range(20):
        v = v - (2 * v + 2 * torch.sinh(v) - y) / (2 + 2 * torch.cosh(v))
    return v
