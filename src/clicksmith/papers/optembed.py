"""OptEmbed."""

from clicksmith.paper import Paper
from clicksmith.search.optembed.evolution import Evolution
from clicksmith.search.optembed.gate import Thresholds
from clicksmith.search.optembed.method import search_optembed
from clicksmith.search.optembed.step import Step
from clicksmith.search.optembed.widths import Sampled

PAPER = Paper(
    key="optembed",
    title="OptEmbed: Learning Optimal Embedding Table for Click-through Rate Prediction",
    authors="Fuyuan Lyu, Xing Tang, Hong Zhu, Huifeng Guo, Yingxue Zhang, Ruiming Tang, Xue Liu",
    venue="CIKM",
    year=2022,
    url="https://arxiv.org/abs/2208.04482",
    note="its tables could not be obtained; it claims a smaller embedding table at an AUC that is no lower"
    "; what was measured here is in benchmarks/results/plans",
)

PIECES = (Thresholds, Step, Sampled, Evolution, search_optembed)
