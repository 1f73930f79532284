"""FGCNN."""

from clicksmith.fields.fgcnn import FGCNN, FGCNNLevel
from clicksmith.models.fgcnn import fgcnn
from clicksmith.paper import Claim, Paper

PAPER = Paper(
    key="fgcnn",
    title="Feature Generation by Convolutional Neural Network for Click-Through Rate Prediction",
    authors="Bin Liu, Ruiming Tang, Yingzhi Chen, Jinkai Yu, Huifeng Guo, Yuzhou Zhang",
    venue="WWW",
    year=2019,
    url="https://arxiv.org/abs/1904.04447",
    claims=(
        Claim(
            dataset="criteo (negatives down-sampled)",
            metric="AUC",
            value=0.8022,
            tolerance=0.001,
            command="not reproduced: the paper's down-sampled split is not published",
        ),
        Claim(
            dataset="criteo_x4_001",
            metric="AUC",
            value=0.81206,
            tolerance=0.001,
            command="not reproduced: 37 million training rows need more hours than this project's machine had",
        ),
    ),
)
"""In the benchmark's tuned runs FGCNN wins twice, loses twice and ties once against IPNN alone."""

PIECES = (fgcnn, FGCNN, FGCNNLevel)
