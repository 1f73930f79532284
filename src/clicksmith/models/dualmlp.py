"""DualMLP: two stacks of dense layers side by side (Mao et al., AAAI 2023, section 3.1)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def dualmlp(
    *,
    dim: int = 16,
    units1: tuple[int, ...] = (400,),
    units2: tuple[int, ...] = (800,),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout1: float = 0.3,
    dropout2: float = 0.2,
    bias_each: bool = False,
) -> ModelSpec:
    """Two stacks of dense layers side by side, their logits added.

    Paper: finalmlp.
    """
    streams = tuple(
        Stacked(then=(MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout),))
        for units, dropout in ((units1, dropout1), (units2, dropout2))
    )
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=streams, bias_each=bias_each))
