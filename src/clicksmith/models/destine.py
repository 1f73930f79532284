"""DESTINE: self-attention with a pairwise and a unary term, beside dense layers (Xu et al., CIKM 2021)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.disentangled import DisentangledAttention
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def destine(
    *,
    dim: int = 16,
    layers: int = 2,
    width: int = 64,
    heads: int = 2,
    scale: bool = False,
    residual: Literal["each", "last", "none"] = "each",
    projection: Literal["linear", "bias", "relu"] = "linear",
    attention_dropout: float = 0.0,
    units: tuple[int, ...] = (400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.1,
    wide: bool = False,
    bias_each: bool = False,
) -> ModelSpec:
    """Disentangled self-attention over the fields and dense layers; without `units`, no dense layers.

    `projection="bias"` and `bias_each` add constants that cancel or repeat each other, which the authors' code and
    published parameter counts have; `wide` adds the first order.
    """
    attention = DisentangledAttention(
        layers=layers,
        width=width,
        heads=heads,
        scale=scale,
        residual=residual,
        dropout=attention_dropout,
        projection=projection,
    )
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    first = (FirstOrder(),) if wide else ()
    deep = (Stacked(then=(mlp,)),) if units else ()
    interact = Parallel(blocks=(*first, Stacked(transforms=(attention,)), *deep), bias_each=bias_each)
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
