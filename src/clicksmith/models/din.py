"""DIN: behaviours weighed against the candidate, then dense layers (Zhou et al., KDD 2018)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec
from clicksmith.sequence.din import DIN


def din(
    *,
    dim: int = 16,
    attention_units: tuple[int, ...] = (80, 40),
    attention_activation: Activation = "dice",
    attention_dropout: float = 0.0,
    softmax: bool = False,
    units: tuple[int, ...] = (200, 80),
    activation: Activation = "dice",
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> ModelSpec:
    """Behaviours weighed against the candidate, then dense layers.

    `softmax` normalises a row's weights, as the authors' code does and the paper does not.
    Paper: din.
    """
    pool = DIN(units=attention_units, activation=attention_activation, softmax=softmax, dropout=attention_dropout)
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim, pool=pool), interact=Stacked(then=(mlp,)))
