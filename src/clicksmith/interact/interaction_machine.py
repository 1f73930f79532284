"""The interaction machine of DeepIM: sums of products of any k fields (Yu et al., CIKM 2020)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import needs_pairs
from clicksmith.interact.symmetric import symmetric_sums


class InteractionMachine(Block, frozen=True):
    """The products of every 1, 2, ... `order` fields, added up order by order, coordinate by coordinate."""

    order: int = 3
    """Most fields in a product; sums of orders above the number of fields are zero, up to rounding."""
    batch_norm: bool = False
    """Normalise each sum over the batch."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim numbers per order."""
        needs_pairs(self, shape)
        if self.order < 1:
            raise CompositionError(f"an interaction machine of order {self.order} gives nothing; give order=1 or more.")
        return HiddenShape(self.order * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return InteractionMachineBlock(self.order, shape.dim if self.batch_norm else 0)


class InteractionMachineBlock(nn.Module):
    """`e_k = sum_{i1 < ... < ik} v_i1 * ... * v_ik` for k = 1 ... order.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, order * dim]
    """

    def __init__(self, order: int, normed: int) -> None:
        super().__init__()
        self.order = order
        self.norm = nn.BatchNorm1d(order * normed) if normed else None

    def forward(self, fields: Fields) -> Hidden:
        """Sum the products, order by order."""
        sums = torch.cat(symmetric_sums(fields.vectors, self.order), 1)
        return Hidden(sums if self.norm is None else self.norm(sums))
