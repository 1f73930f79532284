"""DIN."""

from clicksmith.embed.activation import Dice
from clicksmith.models.din import din
from clicksmith.paper import Claim, Paper
from clicksmith.sequence.din import LocalActivation

PAPER = Paper(
    key="din",
    title="Deep Interest Network for Click-Through Rate Prediction",
    authors=(
        "Guorui Zhou, Chengru Song, Xiaoqiang Zhu, Ying Fan, Han Zhu, Xiao Ma, Yanghui Yan, Junqi Jin, Han Li, Kun Gai"
    ),
    venue="KDD",
    year=2018,
    url="https://arxiv.org/abs/1706.06978",
    claims=(
        Claim(
            dataset="amazonelectronics (authors' demo)",
            metric="GAUC",
            value=0.8698,
            tolerance=0.003,
            command="not reproduced: no measured run is committed yet",
        ),
        Claim(
            dataset="amazonelectronics_x1",
            metric="GAUC",
            value=0.8835,
            tolerance=0.003,
            command="not reproduced: no measured run is committed yet",
        ),
    ),
)
"""The first figure is the authors' correction; the 0.8818 of the paper came from a leak in their code."""

PIECES = (din, LocalActivation, Dice)
