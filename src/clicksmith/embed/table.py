"""Tables: ids to vectors."""

from torch import Tensor, nn

from clicksmith.embed.rows import RowStore, SlotNumbers
from clicksmith.embed.sockets import Table, TableShape


class Plain(Table, frozen=True):
    """One vector per id, in one store for all slots."""

    std: float = 1e-4
    """Deviation of the normal distribution that the vectors are drawn from."""

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table of a shape."""
        return PlainTable(shape, self.std)


class PlainTable(nn.Module):
    """One gather for all columns.

    Shape:
        ids: [..., columns], local to the column's slot
        out: [..., columns, dim]
    """

    def __init__(self, shape: TableShape, std: float) -> None:
        super().__init__()
        self.store = RowStore(shape.slots, shape.dim, std=std)
        self.offsets = SlotNumbers(self.store.starts)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        return self.store(ids, self.offsets(slots, ids.device))
