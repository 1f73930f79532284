"""AutoInt+: AutoInt and dense layers on the same vectors (Song et al., CIKM 2019, section 5.5)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.attention import Norm, Residual, attention_of
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def autoint_plus(
    *,
    dim: int = 16,
    layers: int = 3,
    width: int = 64,
    heads: int = 2,
    variant: Literal["paper", "official"] = "paper",
    residual: Residual | None = None,
    scale: bool | None = None,
    norm: Norm | None = None,
    attention_dropout: float = 0.0,
    units: tuple[int, ...] = (400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.1,
    wide: bool = False,
    bias_each: bool = False,
) -> ModelSpec:
    """Self-attention over the fields, and dense layers on the same vectors; options as in autoint.

    Paper: autoint.
    """
    attention = attention_of(
        variant,
        layers=layers,
        width=width,
        heads=heads,
        residual=residual,
        scale=scale,
        norm=norm,
        dropout=attention_dropout,
    )
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    deep = (Stacked(transforms=(attention,)), Stacked(then=(mlp,)))
    blocks = (FirstOrder(), *deep) if wide else deep
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=blocks, bias_each=bias_each))
