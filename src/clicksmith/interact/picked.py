"""Some of the fields side by side."""

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, Select
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.names import unknown


class Picked(Block, frozen=True):
    """The vectors of chosen fields side by side: one tower of a two-tower model, DLRM's numbers."""

    of: Select = Select()
    """Which fields."""
    others: bool = False
    """Take the fields that `of` does not choose."""
    optional: bool = False
    """Where no field is chosen give nothing; else that is an error."""

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give chosen fields * dim."""
        chosen = self._chosen(shape)
        if not chosen and not self.optional:
            conditions = {"names": self.of.names, "roles": self.of.roles, "kinds": self.of.kinds}
            which = ", ".join(f"{what} {', '.join(values)}" for what, values in conditions.items() if values)
            raise CompositionError(
                f"'picked' takes the fields {'outside' if self.others else 'of'} {which or 'any name'}, and the data "
                "has none; set the columns' roles in the schema, or choose the fields by name."
            )
        return HiddenShape(len(chosen) * shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return PickedBlock(self._chosen(shape))

    def _chosen(self, shape: FieldShape) -> list[int]:
        known = [f.name for f in shape.fields]
        for name in self.of.names:
            if name not in known:
                raise CompositionError(f"names of 'picked': {unknown(name, known, 'field')}")
        return [i for i, f in enumerate(shape.fields) if self.of.chooses(f) != self.others]


class PickedBlock(nn.Module):
    """Select fields.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, chosen * dim], None where none is chosen
    """

    chosen: Tensor

    def __init__(self, chosen: list[int]) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.tensor(chosen, dtype=torch.int64), persistent=False)

    def forward(self, fields: Fields) -> Hidden:
        """Put the chosen vectors side by side."""
        if not len(self.chosen):
            return Hidden(None)
        return Hidden(fields.vectors.index_select(1, self.chosen).flatten(1))
