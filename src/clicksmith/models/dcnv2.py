"""DCNv2: a cross network with matrices, before or beside dense layers (Wang et al., WWW 2021)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.cross import CrossMixture, LowRankCross, MatrixCross
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def dcnv2(
    *,
    dim: int = 16,
    layers: int = 3,
    cross: Literal["full", "low_rank", "mixture"] = "full",
    rank: int = 32,
    experts: int = 4,
    structure: Literal["cross", "stacked", "parallel", "stacked_parallel"] = "parallel",
    units: tuple[int, ...] = (400, 400, 400),
    stacked_units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """A cross network with matrices (full, low-rank or a mixture of experts) and dense layers.

    `structure`: the cross network alone, dense layers after it (`stacked_units`), beside it (`units`), or both.
    """
    net = {
        "full": MatrixCross(layers=layers),
        "low_rank": LowRankCross(layers=layers, rank=rank),
        "mixture": CrossMixture(layers=layers, rank=rank, experts=experts),
    }[cross]
    beside = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    after = MLP(units=stacked_units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    crossed = Stacked(then=(net, after) if structure.startswith("stacked") else (net,))
    if structure.endswith("parallel"):
        return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(crossed, Stacked(then=(beside,)))))
    return ModelSpec(embed=Embed(dim=dim), interact=crossed)
