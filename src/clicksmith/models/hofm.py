"""HOFM: products of two, three and more fields (Blondel et al., NeurIPS 2016).

Differs from the common implementation: sums of powers stand for the enumeration of all subsets of fields.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel
from clicksmith.interact.hofm import HigherOrder
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def hofm(*, dim: int = 16, order: int = 3, shared: bool = False) -> ModelSpec:
    """First order, and the products of up to `order` fields; each order has vectors of its own.

    `shared` uses the same vectors for every order.
    """
    pairs = HigherOrder(order=order, shared=shared, dim=dim)
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), pairs)))
