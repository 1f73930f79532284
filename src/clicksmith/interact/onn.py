"""Operation-aware vectors: the embedding of ONN (Yang et al., Neural Networks 2020), also known as NFFM."""

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import FieldAwareProducts


class OperationAware(Block, frozen=True):
    """A vector per feature and operation: one is copied, one for each other field goes into a dot product."""

    dim: int = 8
    """Length of each of those vectors."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the field-aware vectors only."""
        return (self._view(),)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give dim numbers per field and one per pair."""
        fields = len(shape.selected(self._view()))
        if fields < 2:
            raise CompositionError(f"'onn' multiplies pairs of fields, and the data has {fields}; use dnn.")
        return HiddenShape(fields * self.dim + fields * (fields - 1) // 2)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module; the vectors live in the view."""
        return OperationAwareBlock(self._view().name, len(shape.selected(self._view())))

    def _view(self) -> View:
        return View("operation_aware", self.dim, per="pair")


class OperationAwareBlock(nn.Module):
    """`v_{i,i}` of every field, then `<v_{i,j}, v_{j,i}>` for i < j.

    Shape:
        the view:   [batch, fields, fields, dim], [b, i, j] the vector of field i's feature for field j
        out.vector: [batch, fields * dim + pairs]
    """

    own: Tensor

    def __init__(self, view: str, fields: int) -> None:
        super().__init__()
        self.view = view
        self.products = FieldAwareProducts(fields, fields)
        self.register_buffer("own", torch.arange(fields) * (fields + 1), persistent=False)

    def forward(self, fields: Fields) -> Hidden:
        """Copy and multiply."""
        table = fields.views[self.view].flatten(1, 2)
        copied = table.index_select(1, self.own).flatten(1)
        return Hidden(torch.cat([copied, self.products(table).sum(2)], 1))
