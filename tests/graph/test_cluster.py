"""Clusters: the objective against brute force, planted communities, the same bytes again."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from clicksmith.datasets.blocks import planted_blocks
from clicksmith.errors import UsageError
from clicksmith.graph import cluster as module
from clicksmith.graph.cluster import cluster, modularity
from clicksmith.graph.edges import Edges
from clicksmith.graph.exact import exact_rows, fold_in, search
from clicksmith.graph.hashes import hashed, hyperplanes

LIBRARIES = ["scikit-network", "networkit"]


def random_edges(seed, left=5, right=4, pairs=30):
    rng = np.random.default_rng(seed)
    return Edges.of(rng.integers(0, left, pairs), rng.integers(0, right, pairs), np.ones(pairs), (left, right))


def brute(edges, one, two, g):
    """Return Barber's modularity as the double sum over all pairs of nodes."""
    a = edges.matrix().toarray().astype(float)
    m, k, d = a.sum(), a.sum(1), a.sum(0)
    pairs = itertools.product(range(len(k)), range(len(d)))
    return sum((a[u, i] / m - g * k[u] * d[i] / m**2) for u, i in pairs if one[u] == two[i])


def test_a_seed_may_be_any_whole_number():
    edges = random_edges(0)
    one, two = (cluster(edges, seed=20_240_501_123) for _ in range(2))
    np.testing.assert_array_equal(one.left, two.left)


@pytest.mark.parametrize("g", [0.5, 1.0, 7.0])
def test_modularity_is_the_double_sum(g):
    for seed in range(5):
        edges, rng = random_edges(seed), np.random.default_rng(seed)
        one, two = rng.integers(0, 3, 5).astype(np.int32), rng.integers(0, 3, 4).astype(np.int32)
        assert modularity(edges, one, two, g) == pytest.approx(brute(edges, one, two, g), abs=1e-9)


def test_newmans_modularity_is_barbers_less_what_is_unbalanced():
    edges, rng = random_edges(3), np.random.default_rng(3)
    labels = rng.integers(0, 3, 9).astype(np.int32)
    a = edges.matrix().toarray().astype(float)
    whole = np.block([[np.zeros((5, 5)), a], [a.T, np.zeros((4, 4))]])
    degree, double = whole.sum(1), whole.sum()
    same = labels[:, None] == labels[None, :]
    newman = ((whole / double - np.outer(degree, degree) / double**2) * same).sum()
    k, d = (np.bincount(part, weights, 3) for part, weights in ((labels[:5], degree[:5]), (labels[5:], degree[5:])))
    barber = modularity(edges, labels[:5], labels[5:])
    assert newman == pytest.approx(barber - ((k - d) ** 2).sum() / (4 * a.sum() ** 2), abs=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_small_graph_gets_the_best_of_all_its_partitions(library):
    pairs = [
        (0, 0, 3),
        (0, 1, 2),
        (1, 0, 2),
        (1, 1, 3),
        (2, 2, 3),
        (3, 2, 2),
        (3, 3, 1),
        (2, 3, 2),
        (1, 2, 1),
        (3, 0, 1),
    ]
    edges = Edges.of(*zip(*pairs, strict=True), (4, 4))
    best = max(modularity(edges, np.array(p[:4], np.int32), np.array(p[4:], np.int32)) for p in partitions(8))
    found = [cluster(edges, seed=seed, library=library) for seed in range(10)]
    assert sum(modularity(edges, c.left, c.right) >= best - 1e-9 for c in found) >= 9


def partitions(n):
    """Return every way to label n nodes, up to names."""

    def grow(head):
        if len(head) == n:
            yield head
        else:
            for label in range(max(head) + 2):
                yield from grow([*head, label])

    return grow([0])


@pytest.fixture(scope="module")
def planted():
    blocks = planted_blocks(8000, 2000, 40, 90_000, seed=1)
    return blocks, Edges.of(blocks.left, blocks.right, np.ones(90_000), (8000, 2000))


def agreement(blocks, found):
    truth, labels = np.r_[blocks.left_blocks, blocks.right_blocks], np.r_[found.left, found.right]
    return adjusted_mutual_info_score(truth[labels >= 0], labels[labels >= 0])


@pytest.mark.parametrize("library", LIBRARIES)
def test_planted_communities_are_found_and_shuffled_edges_hold_none(planted, library):
    blocks, edges = planted
    assert agreement(blocks, cluster(edges, library=library)) >= 0.85
    right = np.random.default_rng(0).permutation(np.repeat(edges.right, edges.weight.astype(int)))
    left = np.repeat(edges.left, edges.weight.astype(int))
    shuffled = Edges.of(left, right, np.ones(len(left)), edges.shape)
    assert agreement(blocks, cluster(shuffled, library=library)) < 0.05


def test_hyperplanes_find_a_little_of_the_communities_and_chance_nothing(planted):
    blocks, e = planted
    found = hyperplanes(e.left, e.right, e.weight, e.shape, bits=5, seed=0)
    assert adjusted_mutual_info_score(blocks.left_blocks, found) > 0.04
    assert abs(adjusted_mutual_info_score(blocks.left_blocks, hashed(np.arange(8000), 32, 0))) < 0.01


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_seed_gives_the_same_bytes(planted, library):
    one, two = (cluster(planted[1], resolution=3, seed=5, library=library) for _ in range(2))
    assert one.left.tobytes() == two.left.tobytes() and one.right.tobytes() == two.right.tobytes()
    assert sorted(set(np.r_[one.left, one.right]) - {-1}) == list(range(one.count))


def test_far_more_rows_than_communities_are_met_without_tearing_these_apart_at_random(planted):
    blocks, edges = planted
    runs = []

    def run(resolution):
        runs.append(resolution)
        return cluster(edges, resolution=resolution)

    found, coarse = search(run, lambda c: len(np.unique(c.left[c.left >= 0])), 4000)
    traffic = np.bincount(blocks.left, minlength=8000)
    rows = exact_rows(
        found.left, coarse.left, found.right, edges.matrix(), traffic, 4000, resolution=found.resolution, seed=0
    )
    assert len(runs) <= 8 and len(np.unique(rows)) == 4000
    shared = np.bincount(rows)
    together = [np.ptp(blocks.left_blocks[rows == row]) == 0 for row in np.flatnonzero(shared == 2)[:400]]
    assert np.mean(together) > 0.4  # one in forty by chance


def test_nodes_without_edges_are_in_no_cluster():
    edges = Edges.of([0, 1, 3], [0, 0, 2], np.ones(3), (5, 4))
    found = cluster(edges)
    assert found.left.tolist()[2] == found.left.tolist()[4] == -1 and found.right.tolist()[1] == -1
    assert found.left[0] == found.left[1] == found.right[0] != found.left[3] == found.right[2]
    assert found.count == 2


def test_a_node_is_folded_into_the_cluster_it_was_in(planted):
    _, edges = planted
    found, rng = cluster(edges), np.random.default_rng(2)
    degrees = edges.degrees()
    of_clusters = np.bincount(found.right[found.right >= 0], degrees[1][found.right >= 0], found.count)
    nodes = rng.choice(np.flatnonzero(degrees[0] >= 2), 500, replace=False)
    again = fold_in(edges.matrix()[nodes], found.right, of_clusters, float(degrees[0].sum()))
    assert (again == found.left[nodes]).mean() >= 0.95
    assert fold_in(edges.matrix()[:1] * 0, found.right, of_clusters, 1.0).tolist()[0] in (-1, *range(found.count))


def test_what_cannot_be_clustered_is_refused(monkeypatch):
    edges = random_edges(0)
    with pytest.raises(UsageError, match="the resolution is 0; it must be above 0"):
        cluster(edges, resolution=0)
    monkeypatch.setitem(module.MODULES, "scikit-network", "sknetwork_that_is_not_there")
    with pytest.raises(
        UsageError, match=r"needs scikit-network, which is not installed: pip install 'clicksmith\[graph\]'"
    ):
        cluster(edges)


@pytest.mark.parametrize("g", [1.0, 5.0])
def test_modularity_is_networkxs_of_the_graph_with_all_edges_from_left_to_right(g):
    """Directed modularity takes what goes out of one node and into the other: Barber's null model."""
    nx = pytest.importorskip("networkx")  # comes with torch
    edges, rng = random_edges(4), np.random.default_rng(4)
    labels = rng.integers(0, 3, 9).astype(np.int32)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(9))
    for u, i, weight in zip(edges.left.tolist(), edges.right.tolist(), edges.weight.tolist(), strict=True):
        graph.add_edge(u, 5 + i, weight=weight)
    groups = [set(np.flatnonzero(labels == label).tolist()) for label in range(3)]
    theirs = nx.community.modularity(graph, groups, resolution=g)
    assert modularity(edges, labels[:5], labels[5:], g) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("resolution", "least"), [(1.0, 0.65), (100.0, 0.75)])
def test_communities_of_a_million_edges_are_found(resolution, least):
    left, right, communities, pairs = 200_000, 50_000, 500, 1_040_000
    blocks = planted_blocks(left, right, communities, pairs, seed=0)
    edges = Edges.of(blocks.left, blocks.right, np.ones(pairs), (left, right))
    found = agreement(blocks, cluster(edges, resolution=resolution))
    print(f"resolution {resolution:g}: agreement {found:.3f}")
    assert found >= least
