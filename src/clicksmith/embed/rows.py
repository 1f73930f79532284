"""`RowStore`, the one owner of row-indexed weights (embedding tables, gates, per-id biases).

Its gradient touches only the rows a batch looked up. On its own it behaves like any module: `weight.grad` is dense.
A row-wise optimiser attaches a `RowSink`; gradients then go to the sink, and nothing of the table's size is made.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from clicksmith.kernels import ops


class RowSink(Protocol):
    """What a row-wise optimiser offers to the store it updates."""

    catches_up: bool
    """Whether `before` has anything to do; it is not called otherwise."""

    def before(self, rows: Tensor) -> None:
        """Bring the rows about to be read up to date (exact catch-up); `rows` are row numbers, any shape; -1: none."""
        ...

    def collect(self, rows: Tensor, grad: Tensor) -> None:
        """Take the gradient of looked-up rows: distinct rows [n] (-1 in gaps), summed grad [n, dim] float32."""
        ...


class RowStore(nn.Module):
    """Weights with one row per id of several slots, concatenated.

    Shape:
        weight: [rows, dim]
        forward: ids [..., columns] local ids, offsets [columns] -> [..., columns, dim]

    Row 0 of every slot (padding) starts at zero and is kept there by the store: its gradient is dropped.
    """

    def __init__(
        self,
        slots: tuple[tuple[str, int], ...],
        dim: int,
        *,
        std: float = 1e-4,
        group: Literal["table", "gate"] = "table",
    ) -> None:
        super().__init__()
        self.slots = slots
        self.dim = dim
        self.group = group
        starts: dict[str, int] = {}
        total = 0
        for name, rows in slots:
            starts[name] = total
            total += rows
        self.starts = starts
        self.runs = tuple((name, 0, rows) for name, rows in slots)
        """Which ids of which slot the rows are, run after run: slot, first id, end."""
        self.weight = nn.Parameter(torch.empty(total, dim))
        self.sink: RowSink | None = None
        self.reset(std)

    def reset(self, std: float) -> None:
        """Draw the weights anew, normal with deviation `std`; padding rows are zero."""
        with torch.no_grad():
            self.weight.normal_(0.0, std)
            self.weight[list(self.starts.values())] = 0.0

    def offsets(self, slots: tuple[str, ...], device: torch.device | None = None) -> Tensor:
        """Return the first row of each slot: [columns] int64."""
        return torch.tensor([self.starts[s] for s in slots], dtype=torch.int64, device=device or self.weight.device)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Look up rows: [..., columns] -> [..., columns, dim]."""
        return ops.lookup(self, ids, offsets)


def row_stores(module: nn.Module) -> list[RowStore]:
    """Return every store of a model, through any wrapper, each once."""
    return [m for m in module.modules() if isinstance(m, RowStore)]


class Knobs(nn.Module):
    """Owner of architecture weights and temperatures: what a search trains apart from the weights."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        for name, value in values.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, torch.as_tensor(value))


class SlotNumbers:
    """A number of each column's slot (as its first row in a store), made once per tuple of slots and device."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self.numbers = numbers
        self.known: dict[tuple[tuple[str, ...], torch.device], Tensor] = {}

    def __call__(self, slots: tuple[str, ...], device: torch.device) -> Tensor:
        """Return [columns] int64."""
        found = self.known.get((slots, device))
        if found is None:
            with torch.inference_mode(False):  # made while scoring, it serves training too
                found = torch.tensor([self.numbers[s] for s in slots], dtype=torch.int64, device=device)
            if not ops.traced():  # a traced tensor must not outlive the trace
                self.known[slots, device] = found
        return found
