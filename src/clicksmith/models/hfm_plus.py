"""HFM+: dense layers on the circular convolutions or correlations of all pairs (Tay et al., AAAI 2019).

Differs from the common implementation: no Fourier transform is made, and the first order has no constant of its own
unless `bias_each` is set.
"""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.holographic import Holographic, Interaction
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def hfm_plus(
    *,
    dim: int = 16,
    interaction: Interaction = "circular_convolution",
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
    bias_each: bool = False,
) -> ModelSpec:
    """First order, and dense layers on the circular convolutions (or correlations) of all pairs."""
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    deep = Stacked(first=Holographic(interaction=interaction), then=(mlp,))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(bias=bias_each), deep)))
