"""DNN: dense layers on all vectors side by side (Covington et al., RecSys 2016)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def dnn(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers on all fields' vectors side by side.

    Differs from the paper, which averages what a user saw and retrieves the next video: as in FuxiCTR (there DNN, in
    BARS YoutubeDNN) a row is scored from all its fields.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(then=(mlp,)))
