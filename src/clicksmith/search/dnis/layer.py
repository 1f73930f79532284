"""The soft selection layer: a table whose columns are weighed by block of features. Paper: dnis, equation 4."""

from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from clicksmith.embed.rows import Knobs
from clicksmith.embed.sockets import Table, TableShape
from clicksmith.embed.table import Plain, PlainTable

BEYOND = torch.iinfo(torch.int32).max
"""Above every id: a bound that is never reached."""


class SoftBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids `first` ... `last` - 1 of a slot are weighed by row `row` of alpha."""

    slot: str
    first: int
    last: int
    row: int


class Soft(Table, frozen=True):
    """`E[id] * alpha[block of id]`; ids in no block (padding, unseen) are not weighed. Paper: dnis, equation 4."""

    blocks: tuple[SoftBlock, ...]
    """In rising order within each slot, without gaps from the first one on."""
    inner: Plain = Plain()

    def build(self, shape: TableShape) -> nn.Module:
        """Return the table; alpha is 1, where it equals the plain table."""
        return SoftTable(shape, self.blocks, self.inner)


class SoftTable(nn.Module):
    """A plain table and alpha; the block of an id is found by comparing it with the few bounds of its slot.

    Shape:
        ids:   [..., columns], local to the column's slot
        out:   [..., columns, dim]
        alpha: [blocks, dim]
    """

    bounds: Tensor
    rows: Tensor

    def __init__(self, shape: TableShape, blocks: tuple[SoftBlock, ...], inner: Plain) -> None:
        super().__init__()
        self.inner = cast("PlainTable", inner.build(shape))
        self.numbers = {name: i for i, (name, _) in enumerate(shape.slots)}
        count = 1 + max((b.row for b in blocks), default=-1)
        self.knobs = Knobs(alpha=nn.Parameter(torch.ones(count, shape.dim)))
        own = {name: sorted((b for b in blocks if b.slot == name), key=lambda b: b.first) for name in self.numbers}
        most = 1 + max((len(found) for found in own.values()), default=0)
        bounds = torch.full((most, len(own)), BEYOND, dtype=torch.int32)
        rows = torch.full((most + 1, len(own)), count, dtype=torch.int64)  # row `count` stands for 1
        for s, found in enumerate(own.values()):
            for i, block in enumerate(found):
                bounds[i, s], rows[i + 1, s] = block.first, block.row
            if found:
                bounds[len(found), s] = found[-1].last
        self.register_buffer("bounds", bounds, persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    @property
    def alpha(self) -> nn.Parameter:
        """The weight of each column in each block."""
        return cast("nn.Parameter", self.knobs.alpha)

    def forward(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Look up ids [..., columns]; `slots[c]` is the id space of column c."""
        vectors = self.inner(ids, slots)
        if not len(self.alpha):
            return vectors
        weights = torch.cat([self.alpha, torch.ones_like(self.alpha[:1])])
        return vectors * nn.functional.embedding(self.block(ids, slots), weights).to(vectors.dtype)

    def block(self, ids: Tensor, slots: tuple[str, ...]) -> Tensor:
        """Return the row of alpha of each id; the number of rows where it has none."""
        own = [self.numbers[slot] for slot in slots]
        bounds = self.bounds[:, own]
        passed = torch.zeros_like(ids, dtype=torch.int64)
        for bound in bounds:
            passed = passed + (ids >= bound)
        return self.rows[:, own].gather(0, passed.reshape(-1, len(own))).reshape(ids.shape)
