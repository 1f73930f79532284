"""OptInter."""

from clicksmith.encode.crosses import Cross
from clicksmith.fields.pairs import Pairs, RelaxedPairs
from clicksmith.paper import Paper
from clicksmith.search.optinter.method import run
from clicksmith.search.optinter.options import OptInter

PAPER = Paper(
    key="optinter",
    title="Memorize, Factorize, or be Naïve: Learning Optimal Feature Interaction Methods for CTR Prediction",
    authors="Fuyuan Lyu, Xing Tang, Huifeng Guo, Ruiming Tang, Xiuqiang He, Rui Zhang, Xue Liu",
    venue="ICDE",
    year=2022,
    url="https://arxiv.org/abs/2108.01265",
    note="its tables could not be obtained; it claims up to 2.21 % over the best deep baseline and up to 91 % fewer "
    "parameters than memorising every pair; what was measured here is in benchmarks/results/plans",
)

PIECES = (OptInter, Cross, Pairs, RelaxedPairs, run)
