"""DLRM: dense layers merge all numbers into a field, then dot products of all pairs (Naumov et al., 2019).

Differs from the authors' code: a missing number is replaced by a learned one.
"""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.bottom import Bottom
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import Select
from clicksmith.interact.compose import Flat, Parallel, Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.picked import Picked
from clicksmith.interact.pnn import InnerProducts
from clicksmith.models.spec import ModelSpec


def dlrm(
    *,
    dim: int = 16,
    interaction: Literal["dot", "cat"] = "dot",
    bottom_units: tuple[int, ...] = (64, 64, 64),
    bottom_dropout: float = 0.0,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Numbers merged into one field by dense layers, then dense layers on the dot products of all pairs.

    `interaction`: the dot products and the numbers' field, or all vectors side by side.
    """
    bottom = Bottom(units=bottom_units, activation=activation, batch_norm=batch_norm, dropout=bottom_dropout)
    numbers = Picked(of=Select(kinds=("numeric",)), optional=True)
    first = Parallel(blocks=(InnerProducts(), numbers)) if interaction == "dot" else Flat()
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim, numeric=bottom), interact=Stacked(first=first, then=(mlp,)))
