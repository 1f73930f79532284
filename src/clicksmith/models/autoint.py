"""AutoInt: self-attention learns which fields to combine (Song et al., CIKM 2019)."""

from typing import Literal

from clicksmith.embed.embedder import Embed
from clicksmith.interact.attention import Norm, Residual, attention_of
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def autoint(
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
    wide: bool = False,
) -> ModelSpec:
    """Self-attention over the fields; its weights are the explanation.

    `variant` sets projections, `residual`, `scale` and `norm` as the paper or the authors' code has them; each of
    the three can be set on its own. `wide` adds the first order.
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
    attended = Stacked(transforms=(attention,))
    interact = Parallel(blocks=(FirstOrder(), attended)) if wide else attended
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
