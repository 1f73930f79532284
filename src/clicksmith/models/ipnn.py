"""IPNN: dense layers on all vectors and the dot products of all pairs (Qu et al., ICDM 2016)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Flat, Parallel, Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.pnn import InnerProducts
from clicksmith.models.spec import ModelSpec


def ipnn(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers on all vectors and the dot products of all pairs.

    Differs from the paper: the products are read as they are, without its product layer of low rank, as in FuxiCTR.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    products = Parallel(blocks=(Flat(), InnerProducts()))
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(first=products, then=(mlp,)))
