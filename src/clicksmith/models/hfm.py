"""HFM: pairs combined by circular convolution or correlation, added up (Tay et al., AAAI 2019).

Differs from the common implementation: no Fourier transform is made; the sum over pairs is taken before the
coordinates are combined.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel
from clicksmith.interact.holographic import Holographic, Interaction
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def hfm(*, dim: int = 16, interaction: Interaction = "circular_convolution") -> ModelSpec:
    """First order, and the circular convolutions (or correlations) of all pairs added up."""
    pairs = Holographic(interaction=interaction, summed=True)
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), pairs)))
