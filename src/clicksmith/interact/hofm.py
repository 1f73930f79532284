"""Interactions of three and more fields: higher-order factorisation machines (Blondel et al., NeurIPS 2016)."""

import torch
from torch import nn

from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape, View
from clicksmith.embed.sockets import Block
from clicksmith.errors import CompositionError
from clicksmith.interact.symmetric import symmetric_sums


class HigherOrder(Block, frozen=True):
    """The products of 2, 3, ... `order` fields, summed over all subsets and coordinates; added to the logit."""

    only_products = True

    order: int = 3
    """Most fields in one product."""
    shared: bool = False
    """Use the fields' vectors for every order; else orders from 3 have vectors of their own."""
    dim: int = 16
    """Length of those vectors."""

    def reads(self) -> tuple[View | str, ...]:
        """Read the vectors, and those of each higher order."""
        return ("vectors", *self._views())

    def out(self, shape: FieldShape) -> HiddenShape:
        """Give a logit, no vector."""
        fewest = min([len(shape.fields), *(len(shape.selected(view)) for view in self._views())])
        if not 2 <= self.order <= fewest:
            raise CompositionError(
                f"'higher_order' of order {self.order} multiplies 2 to {self.order} fields, and the data has {fewest}; "
                "give an order from 2 to the number of fields, or use lr."
            )
        return HiddenShape(0, logit=True)

    def build(self, shape: FieldShape) -> nn.Module:  # noqa: ARG002
        """Return the module; it has no weights of its own."""
        return HigherOrderBlock(self.order, tuple(view.name for view in self._views()))

    def _views(self) -> tuple[View, ...]:
        orders = () if self.shared else range(3, self.order + 1)
        return tuple(View(f"order_{order}", self.dim) for order in orders)


class HigherOrderBlock(nn.Module):
    """`sum_k sum_{i1<...<ik} sum_d v_i1d ... v_ikd` for k = 2 ... order.

    Shape:
        fields.vectors, each view: [batch, fields, dim]
        out.logit: [batch, 1]
    """

    def __init__(self, order: int, views: tuple[str, ...]) -> None:
        super().__init__()
        self.order, self.views = order, views

    def forward(self, fields: Fields) -> Hidden:
        """Sum the products of every order."""
        terms = symmetric_sums(fields.vectors, self.order - len(self.views))[1:]
        terms += [symmetric_sums(fields.views[name], order)[-1] for order, name in enumerate(self.views, 3)]
        return Hidden(None, torch.stack([term.sum(1) for term in terms]).sum(0).unsqueeze(1))
