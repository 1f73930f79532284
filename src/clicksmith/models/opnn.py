"""OPNN: dense layers on all vectors and outer products (Qu et al., ICDM 2016; TOIS 2018)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Flat, Parallel, Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.pnn import OuterProducts
from clicksmith.models.spec import ModelSpec


def opnn(
    *,
    dim: int = 16,
    kernel: Literal["sum", "matrix"] = "sum",
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers on all vectors and outer products.

    `kernel`: the outer product of the summed vectors, or each pair under a matrix of its own.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    products = Parallel(blocks=(Flat(), OuterProducts(kernel=kernel)))
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(first=products, then=(mlp,)))
