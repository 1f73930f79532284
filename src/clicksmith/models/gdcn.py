"""GDCN: a cross network whose layers are gated, before or beside dense layers (Wang et al., CIKM 2023)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.cross import GatedCross
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def gdcn(
    *,
    dim: int = 16,
    layers: int = 3,
    structure: Literal["cross", "stacked", "parallel"] = "parallel",
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """A cross network whose layers are gated, and dense layers.

    `structure`: the cross network alone, dense layers after it, or beside it.
    Differs from the common implementation: the cross layers' biases start at zero, not at random in [0, 1).
    """
    net, mlp = (
        GatedCross(layers=layers),
        MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout),
    )
    crossed = Stacked(then=(net, mlp) if structure == "stacked" else (net,))
    interact = Parallel(blocks=(crossed, Stacked(then=(mlp,)))) if structure == "parallel" else crossed
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
