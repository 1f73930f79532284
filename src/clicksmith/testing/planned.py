"""Checks of a model under a Plan: what is dropped takes no row, and nothing else changes."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.batch.batch import History, Inputs
from clicksmith.embed.hashed import Hashed
from clicksmith.embed.rows import RowStore
from clicksmith.embed.sockets import IdGate
from clicksmith.encode.layout import UNSEEN, ZERO, Layout, Slot
from clicksmith.models.spec import CTRModel
from clicksmith.testing.subject import Subject, require_close


class ClosedGate(IdGate, frozen=True):
    """A gate that is shut for every third id of every slot: what dropping these features must equal."""

    def build(self, slots: tuple[tuple[str, int], ...]) -> nn.Module:
        """Return the module; it learns nothing."""
        return ClosedGateModule(slots)


class ClosedGateModule(nn.Module):
    """1 or 0 per id.

    Shape:
        ids: [..., columns] -> [..., columns, 1]
    """

    def __init__(self, slots: tuple[tuple[str, int], ...]) -> None:
        super().__init__()
        self.kept = {name: kept_of(rows) for name, rows in slots}

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look the gates up."""
        gates = [self.kept[slot][ids[..., c].long()] for c, slot in enumerate(slots)]
        return torch.stack(gates, -1).to(torch.get_default_dtype()).unsqueeze(-1)


def kept_of(rows: int) -> Tensor:
    """Return which ids of a slot are kept: [rows] bool."""
    ids = torch.arange(rows)
    return (ids <= UNSEEN) | (ids % 3 != 0)


def check_dropped_features_take_no_row_and_change_nothing_else(subject: Subject) -> None:
    """Under a Plan that drops features the compact model gives the logits of the whole one with their gates shut."""
    embed = subject.spec.embed
    if embed.ids is not None or _numbers_matter(subject):
        return
    spec = msgspec.structs.replace(subject.spec, embed=msgspec.structs.replace(embed, ids=ClosedGate()))
    masked, compact = subject.model(spec=spec), subject.model(layout=_compact(subject.layout, zeros=True))
    _take_over(masked, compact, subject.layout)
    inputs = subject.inputs(32)
    few = _renumbered(inputs, subject.layout, lambda rows: _numbers(rows, ZERO))
    require_close(compact(few).logits, masked(inputs).logits, "dropped features")


def check_forgotten_features_take_no_row_and_read_as_unseen(subject: Subject) -> None:
    """Under a Plan that forgets features the compact model gives the logits of the whole one that never saw them."""
    if _numbers_matter(subject):
        return
    whole, compact = subject.model(), subject.model(layout=_compact(subject.layout, zeros=False))
    _take_over(whole, compact, subject.layout)
    inputs = subject.inputs(32)
    few = _renumbered(inputs, subject.layout, lambda rows: _numbers(rows, UNSEEN))
    seen = _renumbered(inputs, subject.layout, lambda rows: torch.where(kept_of(rows), torch.arange(rows), UNSEEN))
    require_close(compact(few).logits, whole(seen).logits, "forgotten features")


def _numbers_matter(subject: Subject) -> bool:
    """Return whether the table hashes ids by their number, so that renumbered ids are other rows."""
    return any(isinstance(table, Hashed) for table in (subject.spec.embed.table, subject.spec.embed.view_table))


def _compact(layout: Layout, *, zeros: bool) -> Layout:
    slots = tuple(Slot(s.name, int(kept_of(s.rows).sum()), zeros) for s in layout.slots)
    return msgspec.structs.replace(layout, slots=slots)


@torch.no_grad()
def _take_over(whole: CTRModel, compact: CTRModel, layout: Layout) -> None:
    """Copy the weights, of tables only the rows that are kept."""
    stores = {name: module for name, module in whole.named_modules() if isinstance(module, RowStore)}
    state = dict(whole.state_dict())
    for name, store in stores.items():
        pieces: list[Tensor] = []
        for slot, rows in store.slots:
            piece = store.weight[store.starts[slot] : store.starts[slot] + rows]
            pieces.append(piece[kept_of(rows)] if slot in layout.rows else piece)
        state[f"{name}.weight"] = torch.cat(pieces)
    compact.load_state_dict(state)


def _numbers(rows: int, dropped: int) -> Tensor:
    """Return the new id of each old one, `dropped` for those that are not kept: [rows]."""
    kept = kept_of(rows)
    return torch.where(kept, kept.cumsum(0) - 1, dropped)


def _renumbered(inputs: Inputs, layout: Layout, table: Callable[[int], Tensor]) -> Inputs:
    """Return inputs with other ids; `table(rows)` has the new id of each id of a slot."""
    tables = {slot: table(count).int() for slot, count in layout.rows.items()}

    def moved(ids: Tensor, slots: Iterable[str]) -> Tensor:
        return torch.stack([tables[slot][ids[..., c].long()] for c, slot in enumerate(slots)], -1)

    ids = moved(inputs.ids, [c.slot for c in layout.ids]) if layout.ids else inputs.ids
    bags = {c.name: tables[c.slot][inputs.bags[c.name].long()] for c in layout.bags}
    histories = {
        h.name: History.of(moved(inputs.histories[h.name].ids, [c.slot for c in h.columns])) for h in layout.histories
    }
    return replace(inputs, ids=ids, bags=bags, histories=histories)
