"""LorentzFM: a factorisation machine in hyperbolic space (Xu and Wu, AAAI 2020).

Differs from the paper: the head's constant is added, without which few fields cannot reach a low click rate.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.lorentz import LorentzPairs
from clicksmith.models.spec import ModelSpec


def lorentzfm(*, dim: int = 16) -> ModelSpec:
    """How far all pairs of fields are from the triangle inequality in hyperbolic space; no first order."""
    return ModelSpec(embed=Embed(dim=dim), interact=LorentzPairs())
