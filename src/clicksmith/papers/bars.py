"""BARS-CTR."""

from clicksmith.bench.published import published
from clicksmith.bench.ranks import rank
from clicksmith.bench.run import run
from clicksmith.paper import Claim, Paper

_COMMAND = "clicksmith bench run frappe_x1_rebuilt --models {} --train.table-update dense"
_ROWS = "frappe_dense/frappe_x1_rebuilt/{}"
_FIGURES = {"LR": 0.935584, "FM": 0.967108, "DeepFM": 0.984243, "DCNv2": 0.984478}

PAPER = Paper(
    key="bars",
    title="Open Benchmarking for Click-Through Rate Prediction",
    authors="Jieming Zhu, Jinyang Liu, Shuai Yang, Qi Zhang, Xiuqiang He",
    venue="CIKM",
    year=2021,
    url="https://arxiv.org/abs/2009.05794",
    claims=tuple(
        Claim(
            dataset="frappe_x1",
            metric="AUC",
            value=value,
            tolerance=0.0015,
            command=_COMMAND.format(model),
            rows=_ROWS.format(model),
        )
        for model, value in _FIGURES.items()
    ),
)
"""Four of the leaderboards' 359 figures; all stand beside ours in `clicksmith bench table` and on its pages."""

PIECES = (run, rank, published)
