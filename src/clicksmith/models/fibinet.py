"""FiBiNET: bilinear products of all pairs, before and after SENet (Huang et al., RecSys 2019)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.fields.senet import SENet
from clicksmith.interact.bilinear import Bilinear
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def fibinet(
    *,
    dim: int = 16,
    bilinear: Literal["all", "each", "pair"] = "pair",
    reduction: float = 3.0,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """First order, and dense layers on the bilinear products of all pairs before and after SENet."""
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    pairs = Bilinear(matrices=bilinear, again=(SENet(reduction=reduction),))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), Stacked(first=pairs, then=(mlp,)))))
