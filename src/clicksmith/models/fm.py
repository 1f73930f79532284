"""FM: first order plus the dot product of every pair of fields (Rendle, ICDM 2010)."""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel
from clicksmith.interact.fm import FM
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def fm(*, dim: int = 16) -> ModelSpec:
    """Factorisation machine: first order plus dot products of all pairs of fields."""
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), FM())))
