"""AFN: logarithmic neurons learn the order of each cross feature (Cheng et al., AAAI 2020)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.logarithmic import Logarithmic
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def afn(
    *,
    dim: int = 16,
    neurons: int = 600,
    units: tuple[int, ...] = (400,),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.4,
) -> ModelSpec:
    """Dense layers on products of the fields' vectors, each raised to a learned power.

    Differs from the paper: the absolute value of a coordinate is taken, as in FuxiCTR, so vectors may have any sign;
    `batch_norm` is of the dense layers, the two around the exponential are always there.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(first=Logarithmic(neurons=neurons), then=(mlp,)))
