"""NFM: dense layers on the pooled products of all pairs (He and Chua, SIGIR 2017)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.fm import BiInteraction
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def nfm(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.2,
) -> ModelSpec:
    """First order, and dense layers on the products of all pairs added up.

    Differs from the paper: batch normalisation and dropout are those of the dense layers, and none stands before them;
    FuxiCTR has it so too.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    deep = Stacked(first=BiInteraction(), then=(mlp,))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), deep)))
