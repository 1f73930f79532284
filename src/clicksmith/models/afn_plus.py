"""AFN+: logarithmic neurons beside dense layers on vectors of their own (Cheng et al., AAAI 2020)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.logarithmic import Logarithmic
from clicksmith.interact.mlp import MLP
from clicksmith.interact.own_vectors import OwnVectors
from clicksmith.models.spec import ModelSpec


def afn_plus(
    *,
    dim: int = 16,
    neurons: int = 600,
    afn_units: tuple[int, ...] = (400,),
    afn_dropout: float = 0.4,
    units: tuple[int, ...] = (400, 400, 400),
    dropout: float = 0.2,
    activation: Activation = "relu",
    batch_norm: bool = False,
) -> ModelSpec:
    """AFN and dense layers on all vectors of a second table, side by side.

    Differs from FuxiCTR: one output layer for both, where FuxiCTR has one each and weighs the two logits by two more
    numbers and a constant, which together add no function and 4 parameters.
    """
    after = MLP(units=afn_units, activation=activation, batch_norm=batch_norm, dropout=afn_dropout)
    beside = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    products = Stacked(first=Logarithmic(neurons=neurons), then=(after,))
    deep = Stacked(first=OwnVectors(name="deep", dim=dim), then=(beside,))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(products, deep)))
