"""Maps: exactly as many rows as asked, every one used; clusters split and merged as by hand."""

import numpy as np
import pytest

from clicksmith.errors import UsageError
from clicksmith.graph import hashes
from clicksmith.graph.cluster import Clusters
from clicksmith.graph.edges import Edges
from clicksmith.graph.exact import exact_rows, search, split, split_by_rate

TRAFFIC = np.arange(1000, 0, -1)


@pytest.mark.parametrize("rows", [2, 3, 250, 777, 999])
def test_hashes_use_every_row(rows):
    for seed in range(3):
        keys = np.arange(1000)
        for found in (
            hashes.hashed(keys, rows, seed),
            hashes.frequency(TRAFFIC, rows, seed),
            hashes.modulo(1000, rows),
            hashes.rate(np.full(1000, 5), keys % 6, rows, 20.0),
        ):
            assert sorted(set(found.tolist())) == list(range(rows))


def test_loads_are_those_of_chance_and_another_seed_is_another_map():
    loads = np.bincount(hashes.splitmix64(np.arange(100_000), 3) % np.uint64(25_000), minlength=25_000)
    assert abs((loads == 0).mean() - np.exp(-4)) < 0.003 and abs(loads.var() - 4) < 0.15
    one, two = (hashes.hashed(np.arange(1000), 100, seed) for seed in (0, 1))
    assert (one == two).mean() < 0.05
    np.testing.assert_array_equal(one, hashes.hashed(np.arange(1000), 100, 0))
    assert [int(x) for x in hashes.splitmix64([0, 1], 0)] == [reference(0, 0), reference(1, 0)]


def reference(key, seed):
    mask = 2**64 - 1
    z = (key * 0x9E3779B97F4A7C15 + (seed + 1) * 0xD1B54A32D192ED03) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    return z ^ z >> 31


def test_the_head_keeps_private_rows():
    found = hashes.frequency(TRAFFIC[::-1].copy(), 100, 0)
    assert sorted(found[950:]) == list(range(50)) and found[:950].min() == 50


def test_rate_bins_are_equal_and_in_order_of_the_smoothed_rate():
    met, clicked = np.array([100, 1, 1, 100, 50, 50]), np.array([90, 1, 0, 10, 25, 24])
    # smoothed by 20 rows of the mean .4967: .832, .520, .473, .166, .499, .485
    assert hashes.rate(met, clicked, 3, 20.0).tolist() == [2, 2, 0, 0, 1, 1]


def test_hyperplanes_are_signs_of_projections_and_tell_like_partners():
    random = np.random.default_rng(0)
    nodes, partners, weight = random.integers(0, 9, 60), random.integers(0, 30, 60), random.random(60)
    nodes[nodes == 4] = 3
    found = hashes.hyperplanes(nodes, partners, weight, (9, 30), bits=3, seed=5)
    normals = np.random.default_rng(5).standard_normal((3, 30))
    for node in range(9):
        met = [sum(w * n[p] for u, p, w in zip(nodes, partners, weight, strict=True) if u == node) for n in normals]
        assert found[node] == (8 if node == 4 else sum((m > 0) << bit for bit, m in enumerate(met)))
    twice = hashes.hyperplanes(
        np.r_[nodes, nodes + 9], np.r_[partners, partners], np.r_[weight, 3 * weight], (18, 30), 3, 5
    )
    np.testing.assert_array_equal(twice[:9], twice[9:])  # the direction counts, not how often


def test_clusters_are_cut_into_bins_of_like_rates():
    close, rates = np.array([0, 1, 0, 0, 0, 1, 1], np.int32), np.array([0.4, 0.1, 0.1, 0.3, 0.2, 0.3, 0.2])
    traffic = np.array([10, 1, 10, 10, 10, 1, 1])
    assert split_by_rate(close, rates, traffic, 3).tolist() == [1, 2, 0, 1, 0, 2, 2]
    assert split_by_rate(close, rates, traffic, 2).tolist() == close.tolist()
    assert split_by_rate(close, rates, traffic, 7).tolist() == [3, 4, 0, 2, 1, 6, 5]


def test_many_more_rows_than_clusters_cost_no_more_than_a_sort():
    random = np.random.default_rng(0)
    close, traffic = random.integers(0, 20, 200_000).astype(np.int32), random.integers(1, 50, 200_000)
    found = split(close, traffic, 120_000)
    assert len(np.unique(found)) == 120_000
    of_row = np.zeros(120_000, np.int32)
    of_row[found] = close
    assert (of_row[found] == close).all()  # no row has members of two clusters


@pytest.mark.parametrize(("nodes", "rows"), [(1000, 64), (1000, 100), (999, 500), (5, 5), (90, 20)])
def test_quotient_and_remainder_tell_all_ids_apart_and_use_every_row(nodes, rows):
    one, two = hashes.quotient_remainder(nodes, rows)
    assert len(set(zip(one.tolist(), two.tolist(), strict=True))) == nodes
    assert sorted({*one.tolist(), *two.tolist()}) == list(range(rows))
    assert not {*one.tolist()} & {*two.tolist()}


def test_too_few_rows_for_quotient_and_remainder():
    with pytest.raises(UsageError, match="63 rows cannot tell 1,000 ids apart by quotient and remainder; give 64"):
        hashes.quotient_remainder(1000, 63)


LABELS = np.array([0, 0, 0, 1, 1, 2, 3, -1, -1], np.int32)
OTHER = np.array([0, 1, 2, 3], np.int32)
MEETS = np.array(
    [[2, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 2, 0, 0], [0, 1, 2, 0], [2, 0, 0, 1], [0] * 4, [0] * 4]
)
MET = np.array([9, 5, 7, 4, 4, 2, 1, 1, 1])


def rows_of(rows, met=MET, coarse=LABELS):
    left, right = np.nonzero(MEETS)
    matrix = Edges.of(left, right, MEETS[left, right], (9, 4)).matrix()
    return exact_rows(LABELS, coarse, OTHER, matrix, met, rows, resolution=1.0, seed=0).tolist()


def test_clusters_of_the_right_number_stay():
    found = rows_of(None)
    assert found == [0, 0, 0, 1, 1, 2, 3, 4, 4]
    assert rows_of(5) == found


def test_clusters_stay_as_they_are_where_most_rows_are_of_nodes_without_edges():
    labels = np.concatenate([np.repeat(np.arange(20), 5), np.full(300, -1)]).astype(np.int32)
    left = np.arange(100)
    matrix = Edges.of(left, left // 5, np.ones(100), (400, 20)).matrix()
    for heavy in (1, 3, 50):
        met = np.concatenate([np.full(100, 3), np.full(300, heavy)])
        found = exact_rows(labels, labels, np.arange(20, dtype=np.int32), matrix, met, None, resolution=1.0, seed=0)
        assert len(set(found[:100].tolist())) == 20
        assert not set(found[:100].tolist()) & set(found[100:].tolist())
        assert set(found.tolist()) == set(range(found.max() + 1))


def test_the_least_join_what_they_have_most_to_do_with():
    assert rows_of(4) == [0, 0, 0, 1, 1, 2, 0, 3, 3]  # node 6 meets cluster 0, besides its own
    assert rows_of(3) == [0, 0, 0, 1, 1, 1, 0, 2, 2]  # node 5 meets cluster 1
    assert rows_of(2) == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_clusters_join_within_their_community_where_it_has_a_row():
    coarse = np.array([0, 0, 0, 1, 1, 0, 1, -1, -1], np.int32)
    assert rows_of(4, coarse=coarse) == [0, 0, 0, 1, 1, 2, 1, 3, 3]  # node 6 meets cluster 0, and is of 1's community
    assert rows_of(3, coarse=coarse) == [0, 0, 0, 1, 1, 0, 1, 2, 2]


def test_the_heaviest_are_split_members_by_traffic():
    assert rows_of(6) == [0, 1, 1, 2, 2, 3, 4, 5, 5]  # 21 rows of cluster 0 become 9 + 12
    found = rows_of(8)
    assert sorted(set(found)) == list(range(8)) and found[7] == found[8]


@pytest.mark.parametrize("rows", range(2, 9))
def test_every_size_is_met_exactly(rows):
    assert sorted(set(rows_of(rows))) == list(range(rows))


@pytest.mark.parametrize(("rows", "message"), [(1, "give at least 2"), (9, "no map is needed"), (20, "no map")])
def test_sizes_that_are_none_are_refused(rows, message):
    with pytest.raises(UsageError, match=f"a map to {rows} rows for 9 ids: .*{message}"):
        rows_of(rows)


@pytest.mark.parametrize("rows", [3, 40, 1000, 7000])
def test_the_resolution_is_searched_until_it_gives_somewhat_more_than_asked(rows):
    asked = []

    def run(g):
        asked.append(g)
        count = int(np.clip(30 * g**0.7, 2, 9000))
        return Clusters(np.arange(count, dtype=np.int32), np.zeros(1, np.int32), g, count)

    found, coarsest = search(run, lambda c: c.count, rows)
    assert coarsest.resolution == min(asked)
    assert rows <= found.count <= 2 * rows and len(asked) <= 8


def test_a_size_out_of_reach_gets_the_nearest():
    found, _ = search(
        lambda g: Clusters(np.zeros(1, np.int32), np.zeros(1, np.int32), g, min(50, round(10 * g))),
        lambda c: c.count,
        90,
    )
    assert found.count == 50
