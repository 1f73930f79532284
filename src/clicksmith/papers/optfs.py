"""OptFS."""

from clicksmith.paper import Paper
from clicksmith.search.gates import FeatureGate
from clicksmith.search.optfs import GateHook, OptFS, run

PAPER = Paper(
    key="optfs",
    title="Optimizing Feature Set for Click-Through Rate Prediction",
    authors="Fuyuan Lyu, Xing Tang, Dugang Liu, Liang Chen, Xiuqiang He, Xue Liu",
    venue="WWW",
    year=2023,
    url="https://arxiv.org/abs/2301.10909",
    note="its tables could not be obtained; it claims fewer features at an AUC that is no lower"
    "; what was measured here is in benchmarks/results/plans",
)

PIECES = (OptFS, FeatureGate, GateHook, run)
