"""Pairwise dot products of the fields' vectors: FM and its kin."""

import torch
from torch import Tensor, nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError


def pair_sum(vectors: Tensor) -> Tensor:
    """Return `sum_{i<j} v_i * v_j`, coordinate by coordinate, as ((sum)^2 - sum of squares) / 2.

    Shape:
        vectors: [batch, fields, dim]
        out:     [batch, dim]
    """
    total = vectors.sum(1)
    return (total * total - (vectors * vectors).sum(1)) * 0.5


class PairProducts(nn.Module):
    """`v_i * v_j` for i < j, in the order (0,1), (0,2), ... (1,2), ...

    Shape:
        vectors: [batch, fields, dim]
        out:     [batch, pairs, dim]
    """

    left: Tensor
    right: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        left, right = torch.triu_indices(fields, fields, 1)
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Multiply all pairs."""
        return vectors.index_select(1, self.left) * vectors.index_select(1, self.right)


class FM(Block, frozen=True):
    """The second-order term of a factorisation machine (Rendle, ICDM 2010), added to the logit."""

    only_products = True

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        needs_pairs(self, shape)
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; it has no weights."""
        return FMBlock()


class FMBlock(nn.Module):
    """`sum_{i<j} <v_i, v_j>`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
    """

    def forward(self, fields: Fields) -> Hidden:
        """Sum the dot products of all pairs."""
        return Hidden(None, pair_sum(fields.vectors).sum(1, keepdim=True))


class BiInteraction(Block, frozen=True):
    """The bi-interaction pooling of NFM: the products of all pairs, added coordinate by coordinate."""

    only_products = True

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a vector of the fields' dim."""
        needs_pairs(self, shape)
        return HiddenShape(shape.dim)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; it has no weights."""
        return BiInteractionBlock()


class BiInteractionBlock(nn.Module):
    """`sum_{i<j} v_i * v_j`.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.vector:     [batch, dim]
    """

    def forward(self, fields: Fields) -> Hidden:
        """Pool the pairs."""
        return Hidden(pair_sum(fields.vectors))


class FwFM(Block, frozen=True):
    """FM with a weight per pair of fields (Pan et al., WWW 2018), added to the logit."""

    only_products = True

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        needs_pairs(self, shape)
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module."""
        return FwFMBlock(len(shape.fields))


class FwFMBlock(nn.Module):
    """`sum_{i<j} r_ij <v_i, v_j>`, as one product with the matrix that holds r above its diagonal.

    Shape:
        fields.vectors: [batch, fields, dim]
        out.logit:      [batch, 1]
    Parameters: `weight` [pairs], in the order (0,1), (0,2), ... (1,2), ...
    """

    pairs: Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.fields = fields
        rows, columns = torch.triu_indices(fields, fields, 1)
        self.register_buffer("pairs", rows * fields + columns, persistent=False)
        # Not ones: the pairs would begin as a plain FM and leave its plateau later.
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, len(self.pairs))).squeeze(0))

    def forward(self, fields: Fields) -> Hidden:
        """Sum the weighted dot products."""
        vectors = fields.vectors
        matrix = self.weight.new_zeros(self.fields * self.fields).index_copy(0, self.pairs, self.weight)
        matrix = matrix.view(self.fields, self.fields).to(vectors.dtype)
        return Hidden(None, (vectors * (matrix @ vectors)).flatten(1).sum(1, keepdim=True))


class FFM(Block, frozen=True):
    """Field-aware FM (Juan et al., RecSys 2016): a vector per feature and other field; into the logit."""

    only_products = True

    dim: int = 8
    """Length of each of those vectors."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the field-aware vectors only."""
        return (self._view(),)

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        if len(shape.selected(self._view())) < 2:
            raise CompositionError("'ffm' multiplies pairs of fields, and the data has fewer than 2; use lr.")
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:
        """Return the module; the vectors live in the view."""
        return FFMBlock(self._view().name, len(shape.selected(self._view())))

    def _view(self) -> View:
        return View("field_aware", self.dim, per="other")


class FFMBlock(nn.Module):
    """`sum_{i<j} <v_{i,j}, v_{j,i}>`.

    Shape:
        the view:  [batch, fields, fields - 1, dim], [b, i] the vectors of field i's feature for the other fields, in
                   order: that for field j at j, or at j - 1 after i itself
        out.logit: [batch, 1]
    """

    def __init__(self, view: str, fields: int) -> None:
        super().__init__()
        self.view = view
        self.products = FieldAwareProducts(fields, fields - 1)

    def forward(self, fields: Fields) -> Hidden:
        """Sum the dot products of matching vectors."""
        products = self.products(fields.views[self.view].flatten(1, 2))
        return Hidden(None, products.flatten(1).sum(1, keepdim=True))


class FieldAwareProducts(nn.Module):
    """`v_{i,j} * v_{j,i}` for i < j, in the order (0,1), (0,2), ... (1,2), ...

    Shape:
        table: [batch, fields * each, dim]; `each` vectors a field: one for every field, or for every other one
        out:   [batch, pairs, dim]
    """

    upper: Tensor
    lower: Tensor

    def __init__(self, fields: int, each: int) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(fields, fields, 1)
        own = fields - each  # 1 where no field has a vector for itself: those after it then stand one further ahead
        self.register_buffer("upper", rows * each + columns - own, persistent=False)
        self.register_buffer("lower", columns * each + rows, persistent=False)

    def forward(self, table: Tensor) -> Tensor:
        """Multiply matching vectors."""
        return table.index_select(1, self.upper) * table.index_select(1, self.lower)


def needs_pairs(part: Block, shape: FieldShape) -> None:
    """Raise CompositionError if there are fewer than two fields to multiply."""
    count, columns = len(shape.fields), len(shape.base)
    if count < 2:
        has = f"has {count}; use dnn or lr."
        if columns > count:
            has = f"has {columns} columns that make {count}; use dnn or lr, or Flat() (dlrm: interaction='cat')."
        raise CompositionError(f"'{type(part).__name__}' multiplies pairs of fields, and the data {has}")
