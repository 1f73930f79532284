"""DCN: a cross network beside dense layers (Wang et al., ADKDD 2017)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.cross import Cross
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def dcn(
    *,
    dim: int = 16,
    layers: int = 3,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """A cross network beside dense layers; without `units`, the cross network alone.

    Differs in form alone: the last layer of paper and FuxiCTR reads both vectors side by side, here each has its part.
    """
    crossed = Stacked(then=(Cross(layers=layers),))
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    interact = Parallel(blocks=(crossed, Stacked(then=(mlp,)))) if units else crossed
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
