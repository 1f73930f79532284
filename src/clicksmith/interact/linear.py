"""First order: one weight per feature."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError

FIRST_ORDER = View("first_order", 1)
CROSSES = View("crosses", 1, per="cross")


class FirstOrder(Block, frozen=True):
    """The sum of one weight per feature (number x weight for numeric fields), added to the logit."""

    only_products = True

    bias: bool = False
    """Add a constant; it is redundant beside the head's, and some published parameter counts have it."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the weights only."""
        return (FIRST_ORDER,)

    def out(self, shape: FieldShape) -> HiddenShape:  # noqa: ARG002
        """Give a logit, no vector."""
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; the weights live in the view."""
        return WeightSum(FIRST_ORDER, bias=self.bias)


class CrossedWeights(Block, frozen=True):
    """The sum of one weight per pair of ids of a row, added to the logit; the pairs share a hashed table."""

    only_products = True

    def reads(self) -> tuple[View | str, ...]:
        """Read the weights only."""
        return (CROSSES,)

    def out(self, shape: FieldShape) -> HiddenShape:  # noqa: ARG002
        """Give a logit, no vector."""
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; the weights live in the view."""
        return WeightSum(CROSSES, bias=False)


class WeightSum(nn.Module):
    """`sum_f w_f (+ b)`.

    Shape:
        fields.views[view]: [batch, fields, 1]
        out.logit: [batch, 1]
    """

    def __init__(self, view: View, *, bias: bool) -> None:
        super().__init__()
        self.view = view.name
        self.bias = nn.Parameter(torch.zeros(1)) if bias else None

    def forward(self, fields: Fields) -> Hidden:
        """Sum the weights of each row."""
        logit = fields.views[self.view].sum(1)
        return Hidden(None, logit if self.bias is None else logit + self.bias)


class WeightedVectors(Block, frozen=True):
    """First order with a weight vector per feature: `sum_f <v_f, e_f>`, the FeLV term of FwFM."""

    only_products = True

    dim: int = 16
    """Length of the weight vectors; that of the fields."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors and a table of weights for them."""
        return ("vectors", self._view())

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector.

        Raises CompositionError: the fields' vectors have another length, or do not begin with those of the data.
        """
        if shape.dim != self.dim:
            raise CompositionError(
                f"a weight vector of dim={self.dim} cannot weigh fields' vectors of dim={shape.dim}; give both one dim."
            )
        names = [f.name for f in shape.fields]
        for i, weighed in enumerate(f.name for f in shape.selected(self._view())):
            if names[i : i + 1] != [weighed]:
                there = f"'{names[i]}'" if names[i:] else "none"
                raise CompositionError(
                    f"'weighted_vectors' has weights for field '{weighed}', and in its place there is {there}: a "
                    "transform, a pool or a part for numbers gives other fields than the data; use a weight per "
                    "feature, FirstOrder() (fwfm: linear='weight')."
                )
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module."""
        return WeightedVectorsSum()

    def _view(self) -> View:
        return View("vector_weights", self.dim)


class WeightedVectorsSum(nn.Module):
    """`sum_f <v_f, e_f>` over the fields of the data; generated ones, which stand behind them, have no values to weigh.

    Shape:
        fields.vectors: [batch, fields, dim], fields.views["vector_weights"]: [batch, fields of the data, dim]
        out.logit: [batch, 1]
    """

    def forward(self, fields: Fields) -> Hidden:
        """Weigh every vector and add up."""
        weights = fields.views["vector_weights"]
        vectors = fields.vectors[:, : weights.shape[1]]
        return Hidden(None, (vectors * weights).flatten(1).sum(1, keepdim=True))
