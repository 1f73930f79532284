"""Plans: what a search found, and how it changes encoder and model."""

from clicksmith.plan.parts import Block, Columns, FoundBy, IdMap, IdMaps, KeptFeatures, KeptFields, PairOp, Pairs, Ranks
from clicksmith.plan.plan import Plan

__all__ = [
    "Block", "Columns", "FoundBy", "IdMap", "IdMaps", "KeptFeatures", "KeptFields", "PairOp", "Pairs", "Plan",
    "Ranks",
]  # fmt: skip
