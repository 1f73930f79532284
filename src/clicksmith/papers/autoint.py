"""AutoInt and AutoInt+."""

from clicksmith.interact.attention import Attention, InteractingLayer
from clicksmith.models.autoint import autoint
from clicksmith.models.autoint_plus import autoint_plus
from clicksmith.paper import Claim, Paper

PAPER = Paper(
    key="autoint",
    title="AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks",
    authors="Weiping Song, Chence Shi, Zhiping Xiao, Zhijian Duan, Yewen Xu, Ming Zhang, Jian Tang",
    venue="CIKM",
    year=2019,
    url="https://arxiv.org/abs/1810.11921",
    claims=(
        Claim(
            dataset="movielens_1m",
            metric="AUC",
            value=0.8456,
            tolerance=0.0016,
            command="clicksmith bench run movielens_1m --models AutoInt --seeds 1 --train.precision fp32",
            rows="movielens_1m/movielens_1m/AutoInt",
        ),
        Claim(
            dataset="frappe_x1",
            metric="AUC",
            value=0.983979,
            tolerance=0.0015,
            command="clicksmith bench run frappe_x1_rebuilt --models AutoInt+ --train.table-update dense",
            rows="frappe_dense/frappe_x1_rebuilt/AutoInt+",
        ),
        Claim(
            dataset="criteo",
            metric="AUC",
            value=0.8061,
            tolerance=0.001,
            command="not reproduced: the split of the paper is not published",
        ),
    ),
)
"""The Frappe figure is the benchmark's for AutoInt+, its trial chosen on validation."""

PIECES = (autoint, autoint_plus, Attention, InteractingLayer)
