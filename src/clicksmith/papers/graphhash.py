"""GraphHash and DoubleGraphHash."""

from clicksmith.embed.summed import Summed
from clicksmith.graph.cluster import cluster, modularity
from clicksmith.graph.maps import GraphHash, graph_hash
from clicksmith.paper import Claim, Paper

PAPER = Paper(
    key="graphhash",
    title="GraphHash: Graph Clustering Enables Parameter Efficiency in Recommender Systems",
    authors="Xinyi Wu, Donald Loveland, Runjin Chen, Yozen Liu, Xin Chen, Leonardo Neves, Ali Jadbabaie, "
    "Clark Mingxuan Ju, Neil Shah, Tong Zhao",
    venue="WWW",
    year=2025,
    url="https://arxiv.org/abs/2412.17245",
    claims=(
        Claim(
            dataset="gowalla, yelp2018, amazonbook, pinterest",
            metric="gain in recall over hashing",
            value=1.0152,
            tolerance=0.1,
            command="not reproduced: it is of retrieval with tables below a quarter, which this project does not train",
        ),
    ),
    note="the mean of the abstract; the numbers of its tables were not at hand; what was measured here is in "
    "benchmarks/results/plans and benchmarks/results/graph.json",
)

PIECES = (GraphHash, graph_hash, cluster, modularity, Summed)
