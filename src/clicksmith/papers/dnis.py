"""DNIS."""

from clicksmith.paper import Paper
from clicksmith.search.dnis.bilevel import move, second_order
from clicksmith.search.dnis.layer import Soft
from clicksmith.search.dnis.method import DNIS, run

PAPER = Paper(
    key="dnis",
    title="Differentiable Neural Input Search for Recommender Systems",
    authors="Weiyu Cheng, Yanyan Shen, Linpeng Huang",
    venue="arXiv",
    year=2020,
    url="https://arxiv.org/abs/2006.04466",
    note="its tables could not be obtained; it claims 2 to 20 times fewer embedding parameters at an equal quality"
    "; what was measured here is in benchmarks/results/plans",
)

PIECES = (DNIS, Soft, move, second_order, run)
