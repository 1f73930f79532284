"""`Summed`: a table whose vectors are sums of two of its rows (what a Plan's double id maps become)."""

from collections.abc import Mapping

import msgspec
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotNumbers
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.errors import CompositionError


class SummedSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids of a slot share so many rows, padding and unseen included."""

    slot: str
    rows: int


class Summed(Table, frozen=True):
    """The vector of an id is `T[first[id]] + T[second[id]]` for the named slots, its own row for the others.

    Double hashing (Zhang et al., RecSys 2020) and DoubleGraphHash. The maps are a buffer of the module: filled once
    from the Plan, saved with the weights, so that a spec holds no arrays. Paper: graphhash.
    """

    slots: tuple[SummedSlot, ...]
    std: float = 1e-4
    """Deviation of the normal distribution that the rows are drawn from."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table, its maps still empty; slots that it does not hold are left out."""
        return SummedTable(shape, {s.slot: s.rows for s in self.slots}, self.std)


class SummedTable(nn.Module):
    """One gather for the rows of all columns, the second ones of summed columns among them.

    Shape:
        maps: [2, ids of the summed slots]
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    maps: Tensor

    def __init__(self, shape: TableShape, rows: Mapping[str, int], std: float) -> None:
        super().__init__()
        self.store = RowStore(tuple((slot, rows.get(slot, ids)) for slot, ids in shape.slots), shape.dim, std=std)
        self.offsets = SlotNumbers(self.store.starts)
        self.ids = {slot: ids for slot, ids in shape.slots if slot in rows}
        self.rows = {slot: rows[slot] for slot in self.ids}
        self.starts: dict[str, int] = {}
        total = 0
        for slot, ids in self.ids.items():
            self.starts[slot] = total
            total += ids
        self.register_buffer("maps", torch.zeros(2, total, dtype=torch.int32))

    def fill(self, slot: str, first: NDArray, second: NDArray) -> None:  # type: ignore[type-arg]
        """Take the two rows of each id of a slot. Raises CompositionError: the maps are of other ids or rows."""
        if slot not in self.ids:
            return
        both = torch.stack([torch.tensor(first, dtype=torch.int32), torch.tensor(second, dtype=torch.int32)])
        if both.shape[1] != self.ids[slot] or int(both.max()) >= self.rows[slot] or int(both.min()) < 0:
            raise CompositionError(
                f"the map of '{slot}' gives {both.shape[1]:,} ids rows up to {int(both.max()):,}; the model's table "
                f"has {self.ids[slot]:,} ids and {self.rows[slot]:,} rows. Find the map on these training rows."
            )
        start = self.starts[slot]
        self.maps[:, start : start + both.shape[1]] = both

    def occurrences(self, counts: Mapping[str, Tensor]) -> Tensor:
        """Return how often training met each row of the store, from how often it met each id of a slot."""
        found: list[Tensor] = []
        for slot, rows in self.store.slots:
            own = counts[slot]
            if slot in self.ids:
                both = self.maps[:, self.starts[slot] : self.starts[slot] + self.ids[slot]].to(own.device)
                own = sum((own.new_zeros(rows).index_add(0, one.long(), own) for one in both), own.new_zeros(rows))
            found.append(own[:rows])
        return torch.cat(found)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        here = [c for c, slot in enumerate(slots) if slot in self.ids]
        if not here:
            return self.store(ids, self.offsets(slots, ids.device))
        columns = torch.tensor(here, device=ids.device)
        starts = torch.tensor([self.starts[slots[c]] for c in here], device=ids.device)
        first, second = self.maps[:, ids.index_select(-1, columns) + starts].to(ids.dtype).unbind(0)
        rows = torch.cat([ids.index_copy(-1, columns, first), second], -1)
        vectors = self.store(rows, self.offsets((*slots, *(slots[c] for c in here)), ids.device))
        own, other = vectors.split([len(slots), len(here)], -2)
        return own.index_add(-2, columns, other)
