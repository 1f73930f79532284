"""ONN: dense layers on operation-aware vectors (Yang et al., Neural Networks 2020).

Differs from the paper: of the operations, copy and dot product, as in the common implementation.
"""

from clicksmith.embed.activation import Activation
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.onn import OperationAware
from clicksmith.models.spec import ModelSpec


def onn(
    *,
    dim: int = 4,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers on a vector of every feature, and on the dot products of field-aware vectors."""
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(interact=Stacked(first=OperationAware(dim=dim), then=(mlp,)))
