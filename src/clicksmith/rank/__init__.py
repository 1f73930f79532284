"""Which fields say something about the label: a ranking with no model, and no torch. Paper: outrank."""

from clicksmith.rank.job import rank, rank_store
from clicksmith.rank.ranking import FieldScore, PairScore, Ranking

__all__ = ["FieldScore", "PairScore", "Ranking", "rank", "rank_store"]
