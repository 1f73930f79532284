"""FwFM: a factorisation machine with a weight per pair of fields (Pan et al., WWW 2018)."""

from typing import Literal

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Flat, Parallel
from clicksmith.interact.fm import FwFM
from clicksmith.interact.linear import FirstOrder, WeightedVectors
from clicksmith.models.spec import ModelSpec


def fwfm(*, dim: int = 16, linear: Literal["weight", "field", "feature"] = "feature") -> ModelSpec:
    """Factorisation machine with a learned weight per pair of fields.

    `linear`: first order by a weight per feature (LW), by a weight vector per field (FiLV) or per feature (FeLV).
    """
    first = {"weight": FirstOrder(), "field": Flat(), "feature": WeightedVectors(dim=dim)}[linear]
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(first, FwFM())))
