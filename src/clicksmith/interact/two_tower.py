"""Two towers that meet in a dot product: the shape of DSSM (Huang et al., CIKM 2013)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block, reads_of
from clicksmith.errors import CompositionError


class TwoTower(Block, frozen=True):
    """The dot product of what two blocks give, added to the logit. Each block's vector can be computed on its own."""

    first: Block
    second: Block

    def reads(self) -> tuple[View | str, ...]:
        """Read what the towers read."""
        return tuple(dict.fromkeys((*reads_of(self.first), *reads_of(self.second))))

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector. Raises CompositionError: the towers do not give one vector each, of one width."""
        towers = self.first.out(shape), self.second.out(shape)
        if any(tower.groups > 1 for tower in towers):
            raise CompositionError(
                f"a tower of 'two_tower' gives {max(tower.groups for tower in towers)} groups, and a dot product needs "
                "one vector of each; leave Copies out of the towers."
            )
        if any(tower.logit for tower in towers):
            raise CompositionError(
                "a tower of 'two_tower' gives a logit, which is no part of a dot product; "
                "put the block that gives it beside 'two_tower' with Parallel."
            )
        widths = towers[0].width, towers[1].width
        if widths[0] != widths[1] or not widths[0]:
            raise CompositionError(
                f"the towers of 'two_tower' give vectors of {widths[0]} and {widths[1]} numbers; "
                "a dot product needs equally many, so give both towers the same last width."
            )
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return TwoTowerBlock(self.first.build(shape), self.second.build(shape))


class TwoTowerBlock(nn.Module):
    """`<first, second>`.

    Shape:
        out.logit: [batch, 1]
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, fields: Fields) -> Hidden:
        """Multiply the towers' vectors."""
        first, second = self.first(fields).vector, self.second(fields).vector
        wide = torch.promote_types(first.dtype, torch.float32)
        return Hidden(None, (first * second).sum(1, keepdim=True, dtype=wide))
