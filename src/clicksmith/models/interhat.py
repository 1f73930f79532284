"""InterHAt: a transformer layer, then attention over interactions of growing order (Li et al., WSDM 2020)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.hierarchy import FieldEncoder, Hierarchy
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def interhat(
    *,
    dim: int = 16,
    orders: int = 3,
    width: int = 16,
    heads: int = 1,
    inner: int = 0,
    residual: bool = True,
    norm: bool = True,
    units: tuple[int, ...] = (64,),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> ModelSpec:
    """A transformer layer over the fields, then attention over interactions of growing order.

    `width` and `heads` are the self-attention's; `inner` the width inside every attention and the field network, 0
    for four times `dim`.
    Differs from the common implementation: heads attend over the fields apart (there their axes are mixed), and where
    `width` is not `dim` the attention is rectified before it is mapped back.
    """
    encoder = FieldEncoder(width=width, heads=heads, inner=inner, residual=residual, norm=norm, dropout=dropout)
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    interact = Stacked(first=Hierarchy(orders=orders, inner=inner), transforms=(encoder,), then=(mlp,))
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
