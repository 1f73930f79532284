"""DeepCrossing: residual units on all vectors side by side (Shan et al., KDD 2016).

Differs from the paper: all fields' vectors are equally long; batch normalisation and dropout are the common
implementation's.
"""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.residual import Residual
from clicksmith.models.spec import ModelSpec


def deepcrossing(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Residual units on all fields' vectors side by side; `units` are the widths inside them."""
    residual = Residual(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(then=(residual,)))
