"""`Thresholds`: an id keeps its vectors while the size of its main vector exceeds a learned threshold."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.embed.columns import Columns
from clicksmith.embed.embedder import Embedder
from clicksmith.embed.rows import SlotNumbers
from clicksmith.embed.sockets import IdGate
from clicksmith.embed.views import ColumnView
from clicksmith.encode.layout import UNSEEN
from clicksmith.errors import CompositionError, DivergedError, UsageError
from clicksmith.search.optembed.once import Once
from clicksmith.search.optembed.step import size, step
from clicksmith.search.optembed.widths import SampledTable

LookUp = Callable[[Tensor, tuple[str, ...]], Tensor]
"""What a table does: ids [..., columns] and their slots to vectors [..., columns, dim]."""

PIECE = 1 << 16
"""Rows whose sizes are computed at a time."""
LOOK = 64
"""Steps from one look at the thresholds to the next."""


class Thresholds(IdGate, frozen=True):
    """Multiply every vector of an id by `step(|E_id|_1 * evidence - t)`.

    The thresholds rise by the regulariser `alpha * sum exp(-t)` and move with the gradient of the loss, by plain SGD.
    Fields that share a vocabulary share a threshold. Padding and unseen ids always pass.
    Paper: optembed, section 3.1.
    """

    mode: Literal["field", "feature"] = "field"
    """A threshold per vocabulary, or per id."""
    rate: float = 1.0
    """Learning rate of the thresholds."""
    alpha: float = 5e-4
    """Weight of the regulariser, which raises thresholds."""
    initial: float = 0.0
    """Thresholds at the start."""
    rest: int = 0
    """Steps at the start in which they stay there."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("rate", "alpha", "rest"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(
                    f"{name} of the thresholds is {getattr(self, name)}; it must be 0 or more, and finite."
                )

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        """Return the module; `watch` tells it whose sizes count."""
        return ThresholdGate(self, slots)


class ThresholdGate(nn.Module):
    """The masks of looked-up ids, and the SGD of the thresholds: both cost what the batch holds.

    The gradient of a threshold is applied in the backward pass (SGD is additive), the regulariser at the next forward
    pass. Per id it is made up for when the id is looked up: n steps without it take t to ln(exp(t) + n alpha rate).

    Shape:
        forward: ids [..., columns] -> [..., columns, 1]
        thresholds: [slots] or [ids of all slots]
    """

    thresholds: Tensor
    seen: Tensor
    clock: Tensor
    due: Tensor
    evidence: Tensor | None
    fixed: Tensor | None

    def __init__(self, part: Thresholds, slots: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        self.part, self.slots = part, slots
        ends = np.cumsum([0, *(rows for _, rows in slots)]).tolist()
        self.starts = {name: int(start) for (name, _), start in zip(slots, ends, strict=False)}
        self.by_id = part.mode == "feature"
        count = ends[-1] if self.by_id else len(slots)
        self.register_buffer("thresholds", torch.full((count,), part.initial))
        self.register_buffer("seen", torch.zeros(count if self.by_id else 0, dtype=torch.int64))
        self.register_buffer("clock", torch.tensor(-part.rest))  # steps since thresholds move, below 0 until then
        self.register_buffer("due", torch.zeros((), dtype=torch.bool))
        self.register_buffer("evidence", None, persistent=False)
        self.register_buffer("fixed", None, persistent=False)
        self.offsets = SlotNumbers(self.starts)
        self.places = self.offsets if self.by_id else SlotNumbers({name: i for i, (name, _) in enumerate(slots)})
        self.tables: tuple[tuple[LookUp, set[str]], ...] = ()
        self.used: set[str] = set()
        self.once = Once()

    def watch(self, embedder: Embedder) -> None:
        """Let the sizes be those of the main vectors, whole; where a model has none, those of its views' rows."""
        if embedder.columns is not None:
            held = [embedder.columns]
        else:
            views = [view for view in embedder.views if isinstance(view, ColumnView)]
            held = [columns for view in views for columns in (view.columns, view.past) if columns is not None]
        tables = [(columns.table, _slots(columns)) for columns in held if columns.table is not None]
        self.used = set[str]().union(*(slots for _, slots in tables))
        if not tables:
            raise CompositionError(
                "OptEmbed prunes ids by the size of their vectors, and this model looks none up; use a backbone that "
                "reads field vectors."
            )
        for table, _ in tables:
            self.once = table.once if isinstance(table, SampledTable) else self.once
        self.once.during(embedder)
        # a tuple, so that the tables do not become this module's own
        self.tables = tuple((t.whole if isinstance(t, SampledTable) else t, slots) for t, slots in tables)

    def weigh(self, counts: dict[str, Tensor], evidence: float) -> None:
        """Count n / (n + evidence) of the size of an id that training saw n times."""
        seen = torch.cat([counts[name] for name, _ in self.slots]).to(self.thresholds)
        self.evidence = seen / (seen + evidence)

    @property
    def resting(self) -> bool:
        """Whether thresholds do not move yet."""
        return bool(self.clock < 0)

    def fix(self, kept: dict[str, NDArray[np.bool_]]) -> None:
        """Let these ids pass from now on, and no others."""
        self.fixed = torch.from_numpy(np.concatenate([kept[name] for name, _ in self.slots]))

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Return the mask of ids [..., columns]."""
        return self.once("mask", ids, slots, self._mask)

    def _mask(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        if self.fixed is not None:
            return self.fixed[ids + self.offsets(slots, ids.device)].unsqueeze(-1).to(self.thresholds.dtype)
        if self.training and bool(self.due):
            self._raise()
        places = self.places(slots, ids.device)
        if self.by_id:
            places = ids + places
            if self.training:
                self._make_up(places)
        s = self.sizes(ids, slots) - self.thresholds[places]
        return step(s, ids <= UNSEEN, partial(self._move, places) if self.training else None).unsqueeze(-1)

    def sizes(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Return the L1 norms of ids [..., columns], weighed by the evidence: same shape."""
        dtype = self.thresholds.dtype
        found = [_sizes_in(table, held, ids, slots, dtype) for table, held in self.tables]
        total = found[0] if len(found) == 1 else torch.stack(found).sum(0)
        return total if self.evidence is None else total * self.evidence[ids + self.offsets(slots, ids.device)]

    def kept(self) -> dict[str, NDArray[np.bool_]]:
        """Return slot -> whether each id passes: the one pass over the whole vocabulary, after training.

        Raises DivergedError: a threshold is not finite.
        """
        if bool(self.due):
            self._raise()
        if self.by_id:
            self._make_up(torch.arange(len(self.thresholds), device=self.thresholds.device))
        self._check()
        found: dict[str, NDArray[np.bool_]] = {}
        for place, (name, rows) in enumerate(self.slots):
            passes = np.ones(rows, np.bool_)
            for ids, sizes in self._pieces(name, rows):
                own = self.thresholds[ids + self.starts[name]] if self.by_id else self.thresholds[place]
                passes[ids[:, 0].cpu().numpy()] = ((sizes - own)[:, 0] > 0).cpu().numpy()
            found[name] = passes
        return found

    def smallest(self) -> dict[str, float]:
        """Return slot -> the size of its smallest known id, where it has one."""
        found = {name: [float(sizes.min()) for _, sizes in self._pieces(name, rows)] for name, rows in self.slots}
        return {name: min(sizes) for name, sizes in found.items() if sizes}

    @torch.no_grad()
    def _pieces(self, name: str, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through the known ids of a slot: some of them [ids, 1], and their sizes."""
        for start in range(UNSEEN + 1, rows if name in self.used else 0, PIECE):
            ids = torch.arange(start, min(rows, start + PIECE), dtype=torch.int32).unsqueeze(1)
            ids = ids.to(self.thresholds.device)
            yield ids, self.sizes(ids, (name,))

    def _check(self) -> None:
        if not bool(self.thresholds.isfinite().all()):
            raise DivergedError(
                f"a threshold of OptEmbed is not finite after {int(self.clock) + self.part.rest} steps; lower the rate "
                f"of the thresholds, threshold_rate ({self.part.rate:g}), or alpha ({self.part.alpha:g})."
            )

    def _raise(self) -> None:
        """Take the regulariser's step; now and then look whether all thresholds are finite."""
        with torch.no_grad():
            self.due.fill_(value=False)
            self.clock += 1
            if not self.by_id and self.clock > 0:
                self.thresholds += self.part.rate * self.part.alpha * (-self.thresholds).clamp(max=80).exp()
        if int(self.clock) % LOOK == 0:
            self._check()

    def _make_up(self, places: Tensor) -> None:
        """Bring thresholds of ids up to the clock."""
        with torch.no_grad():
            flat = places.flatten()
            now = self.clock.clamp(min=0)
            steps = (now - self.seen[flat]).to(self.thresholds)
            t = self.thresholds[flat]
            # ln(exp(t) + n alpha rate), safe where exp(t) is nothing or everything
            risen = t + torch.log1p(steps * self.part.rate * self.part.alpha * (-t).clamp(max=80).exp())
            self.thresholds[flat] = torch.where(t > -80, risen, t)
            self.seen[flat] = now

    def _move(self, places: Tensor, grad: Tensor) -> None:
        """Take the SGD step for the gradient of sizes [..., columns], thresholds' but for the sign; places alike."""
        with torch.no_grad():
            self.due.fill_(value=True)
            if self.resting:
                return
            grad = grad.flatten() if places.shape == grad.shape else grad.flatten(0, -2).sum(0)
            self.thresholds.index_add_(0, places.flatten(), self.part.rate * grad.to(self.thresholds))


def _sizes_in(table: LookUp, held: set[str], ids: Tensor, slots: tuple[str, ...], dtype: torch.dtype) -> Tensor:
    """Return the L1 norms of ids [..., columns] in a table, 0 for slots that it does not hold: same shape."""
    mine = [c for c, slot in enumerate(slots) if slot in held]
    if len(mine) == len(slots):
        return size(table(ids, slots), dtype)
    nothing = torch.zeros(ids.shape, dtype=dtype, device=ids.device)
    if not mine:
        return nothing
    at = torch.tensor(mine, device=ids.device)
    return nothing.index_add(-1, at, size(table(ids.index_select(-1, at), tuple(slots[c] for c in mine)), dtype))


def _slots(columns: Columns) -> set[str]:
    """Return the vocabularies of a table's columns."""
    return {*columns.slots, *(slot for slots in columns.history_slots.values() for slot in slots)}
