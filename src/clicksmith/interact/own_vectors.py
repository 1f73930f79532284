"""Vectors of a branch of its own, which it shares with no other."""

from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError


class OwnVectors(Block, frozen=True):
    """All columns through tables of the block's own, side by side: `Flat` for a branch that shares no vectors."""

    name: str = "own"
    """Name of the view; blocks of one name and dim share the tables."""
    dim: int = 16
    """Length of the vectors."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the own tables only."""
        return (self._view(),)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give columns * dim numbers."""
        columns = len(shape.selected(self._view()))
        if not columns:
            raise CompositionError("'own_vectors' has no columns to look up; add columns to the schema.")
        return HiddenShape(columns * self.dim)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; the vectors live in the view."""
        return OwnVectorsBlock(self.name)

    def _view(self) -> View:
        return View(self.name, self.dim)


class OwnVectorsBlock(nn.Module):
    """Flattens a view.

    Shape:
        the view:   [batch, columns, dim]
        out.vector: [batch, columns * dim]
    """

    def __init__(self, view: str) -> None:
        super().__init__()
        self.view = view

    def forward(self, fields: Fields) -> Hidden:
        """Flatten."""
        return Hidden(fields.views[self.view].flatten(1))
