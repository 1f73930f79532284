"""Modularity clustering of a bipartite graph by a maintained library (GraphHash, arXiv 2412.17245, section 4).

Q_g = sum_C [ L_C / m - g K_C D_C / m^2 ]: weight inside a cluster against what the degrees let expect (Barber, 2007);
K_C and D_C are the total degrees of the cluster's left and right nodes, g is the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.graph.edges import Edges

Library = Literal["scikit-network", "networkit"]
MODULES: dict[str, str] = {"scikit-network": "sknetwork", "networkit": "networkit"}
ALONE = -1
"""The label of a node without edges."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Clusters:
    """A label per node of both sides; one label may stand on both sides, and `ALONE` on nodes without edges."""

    left: Labels
    right: Labels
    resolution: float
    count: int


def cluster(edges: Edges, *, resolution: float = 1.0, seed: int = 0, library: Library = "scikit-network") -> Clusters:
    """Cluster the nodes of both sides together; the same edges, seed and library give the same labels.

    Paper: graphhash, section 4.

    "scikit-network": Louvain on Barber's modularity, the paper's. "networkit": Leiden on Newman's, on one thread.
    """
    if not resolution > 0:
        raise UsageError(f"the resolution is {resolution}; it must be above 0 (1 is plain modularity).")
    needs(library)
    labels = _louvain(edges, resolution, seed) if library == "scikit-network" else _leiden(edges, resolution, seed)
    alone = np.concatenate([degree == 0 for degree in edges.degrees()])
    found, labels = np.unique(np.where(alone, ALONE, labels), return_inverse=True)
    labels = (labels - (found[0] == ALONE)).astype(np.int32)
    n = edges.shape[0]
    return Clusters(labels[:n], labels[n:], resolution, int(labels.max()) + 1)


def needs(library: Library) -> None:
    """Raise UsageError if the library is not installed."""
    if find_spec(MODULES[library]) is None:
        extra = "clicksmith[graph]" if library == "scikit-network" else library
        raise UsageError(
            f"clustering needs {library}, which is not installed: pip install '{extra}'. "
            "The maps 'rate', 'frequency', 'random' and 'double' do without."
        )


def modularity(edges: Edges, left: Labels, right: Labels, resolution: float = 1.0) -> float:
    """Return Barber's modularity of labels; nodes labelled `ALONE` belong to no cluster.

    Paper: graphhash, section 4.
    """
    total = float(edges.weight.sum(dtype=np.float64))
    one, two = left[edges.left], right[edges.right]
    inside = float(edges.weight[(one == two) & (one != ALONE)].sum(dtype=np.float64))
    size = int(max(left.max(initial=0), right.max(initial=0))) + 1
    sums = [
        np.bincount(labels[labels >= 0], degree[labels >= 0], size)
        for labels, degree in zip((left, right), edges.degrees(), strict=True)
    ]
    return inside / total - resolution * float(sums[0] @ sums[1]) / total**2


def _louvain(edges: Edges, resolution: float, seed: int) -> NDArray[Any]:
    clustering: Any = import_module("sknetwork.clustering")
    louvain = clustering.Louvain(
        resolution,
        shuffle_nodes=True,  # in the order of ids, neighbours in the order merge first; by chance Q is higher
        sort_clusters=False,
        return_probs=False,
        return_aggregate=False,
        random_state=seed % 2**32,
    )
    louvain.fit(edges.matrix(), force_bipartite=True)
    return np.concatenate([louvain.labels_row_, louvain.labels_col_])


def _leiden(edges: Edges, resolution: float, seed: int) -> NDArray[Any]:
    nk: Any = import_module("networkit")
    threads = nk.getMaxNumberOfThreads()
    nk.setNumberOfThreads(1)  # with two, the same seed gives other labels
    nk.setSeed(seed, False)
    try:
        ends = (edges.left.astype(np.uint64), edges.right.astype(np.uint64) + np.uint64(edges.shape[0]))
        graph = nk.graph.GraphFromCoo((edges.weight.astype(np.float64), ends), n=sum(edges.shape), weighted=True)
        found = nk.community.ParallelLeiden(graph, iterations=3, randomize=True, gamma=resolution)
        found.run()
        return np.asarray(found.getPartition().getVector(), np.int64)
    finally:
        nk.setNumberOfThreads(threads)
