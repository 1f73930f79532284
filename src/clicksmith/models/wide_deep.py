"""Wide & Deep: first order beside dense layers (Cheng et al., DLRS 2016)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def wide_deep(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """First order beside dense layers on all vectors.

    Differs from the paper: the wide part has every feature and no crosses made by hand, and one optimiser trains both,
    as in FuxiCTR.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), Stacked(then=(mlp,)))))
