"""OutRank."""

from clicksmith.paper import Claim, Paper
from clicksmith.rank.job import rank
from clicksmith.rank.methods import outrank, rotated
from clicksmith.rank.pairs import pair_scores, relevant_and_new

PAPER = Paper(
    key="outrank",
    title="OutRank: Speeding up AutoML-based Model Search for Large Sparse Data sets "
    "with Cardinality-aware Feature Ranking",
    authors="Blaž Škrlj, Blaž Mramor",
    venue="RecSys",
    year=2023,
    url="https://arxiv.org/abs/2309.01552",
    claims=(
        Claim(
            dataset="not named",
            metric="how much larger the feature space explored is than with AutoML alone, at most",
            value=3.0,
            tolerance=0.1,
            command="not reproduced: neither data nor model search are published",
        ),
    ),
)
"""The abstract's 300 %. What the rule finds among planted fields, and what ours does: benchmarks/results/rank.json."""

PIECES = (rank, outrank, rotated, pair_scores, relevant_and_new)
