"""Clusters to exactly as many rows as asked: the resolution is searched, the rest is merged or split."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.graph.cluster import ALONE, Clusters, Labels
from clicksmith.graph.hashes import hashed, splitmix64

RUNS = 8
"""Clusterings that a search may take."""
WINDOW = 2.0
"""Up to this many clusters per row are merged without a further run."""


def search(run: Callable[[float], Clusters], count: Callable[[Clusters], int], rows: int) -> tuple[Clusters, Clusters]:
    """Return clusters of the resolution that gives `rows` or somewhat more, and the coarsest of those on the way.

    Bisection on the logarithm, from 1. Merging clusters loses less than splitting them, so too many are preferred.
    """
    low, high, at = -math.inf, math.inf, 0.0
    best, best_count = None, 0
    coarsest = None
    for _ in range(RUNS):
        found = run(math.exp(at))
        clusters = count(found)
        coarsest = found if coarsest is None or found.resolution < coarsest.resolution else coarsest
        better = clusters < best_count if min(best_count, clusters) >= rows else clusters > best_count
        if best is None or better:
            best, best_count = found, clusters
        if rows <= clusters <= WINDOW * rows:
            break
        low, high = (at, high) if clusters < rows else (low, at)
        if math.isinf(low):
            at = high - math.log(8)
        elif math.isinf(high):
            at = low + math.log(8)
        else:
            at = (low + high) / 2
    assert best is not None and coarsest is not None
    return best, coarsest


def fold_in(met: Any, clusters: Labels, degree: NDArray[np.float64], total: float, resolution: float = 1.0) -> Labels:
    """Return the cluster in which each new node raises the modularity most; `ALONE` where it meets no cluster.

    argmax_C [ sum of the weight to C - g k D_C / m ], one local move: nothing else is relabelled.

    met: [new nodes, nodes of the other side], sparse; clusters: [other side] their labels, `ALONE` is not offered
    degree: [labels] total degree D of each cluster's nodes of the other side; total: weight m of the whole graph
    """
    from scipy.sparse import csr_matrix

    there = np.flatnonzero(clusters != ALONE)
    member = csr_matrix((np.ones(len(there)), (there, clusters[there])), (len(clusters), len(degree)))
    weight = met @ member
    weight.sum_duplicates()
    own = np.asarray(met.sum(1)).ravel()
    rows = np.repeat(np.arange(weight.shape[0]), np.diff(weight.indptr))
    gain = weight.data - resolution * own[rows] * degree[weight.indices] / total
    found = np.full(weight.shape[0], ALONE, np.int32)
    order = np.lexsort((weight.indices, -gain, rows))
    chosen, first = np.unique(rows[order], return_index=True)
    found[chosen] = weight.indices[order[first]]
    return found


def exact_rows(
    labels: Labels,
    coarse: Labels,
    other: Labels,
    matrix: Any,
    traffic: NDArray[np.int64],
    rows: int | None,
    *,
    resolution: float,
    seed: int,
) -> NDArray[np.int32]:
    """Return a row in 0 .. rows - 1 for each node; every row is used.

    Nodes without edges are hashed into rows of their own kind, as many as their share of the traffic.
    Without `rows` the clusters stay as they are.

    labels, traffic, matrix: of the nodes of this side, [nodes], [nodes] and [nodes, other side]; other: its labels
    coarse: labels of the same nodes in larger communities, within which clusters are merged where that can be
    """
    alone = labels == ALONE
    joined, clusters = int((~alone).sum()), len(np.unique(labels[~alone]))
    share = int(traffic[alone].sum()) / max(1, int(traffic.sum()))
    if rows is None:
        hashed_rows = max(1, round(clusters * share / max(share, 1 - share))) if alone.any() else 0
        rows = clusters + min(hashed_rows, len(labels) - joined)
        check_rows(rows, len(labels))
        hashed_rows = rows - clusters
    else:
        check_rows(rows, len(labels))
        hashed_rows = min(max(1, round(rows * share), rows - joined), len(labels) - joined, rows - (joined > 0))
    target = rows - hashed_rows
    out = np.zeros(len(labels), np.int32)
    if joined:
        one = np.flatnonzero(~alone)
        _, close = np.unique(labels[one], return_inverse=True)
        close = close.astype(np.int32)
        if close.max() + 1 > target:
            found = labels[one], close, coarse[one]
            close = _merged(*found, other, matrix[one], traffic[one], target, resolution, seed)
        elif close.max() + 1 < target:
            close = split(close, traffic[one], target)
        out[one] = close
    if hashed_rows:
        two = np.flatnonzero(alone)
        out[two] = target + hashed(two, hashed_rows, seed)
    return out


def check_rows(rows: int, ids: int) -> None:
    """Raise UsageError unless `rows` rows can be shared by the ids."""
    if not 2 <= rows < ids:
        fewer = (
            "with as many rows as ids no map is needed: give fewer rows, a share below 1, or map the other side alone"
        )
        hint = fewer if rows >= ids else "give at least 2"
        raise UsageError(f"a map to {rows:,} rows for {ids:,} ids: {hint}.")


def _merged(
    labels: Labels,
    close: Labels,
    coarse: Labels,
    other: Labels,
    matrix: Any,
    traffic: NDArray[np.int64],
    rows: int,
    g: float,
    seed: int,
) -> Labels:
    """Let the clusters of least traffic join, of the `rows` others, the one they have most to do with.

    If that one is of another community, and their own has rows, they are dealt out over these: at resolutions far above
    the natural one clusters are a few nodes each, and one shared partner says less than the community does.
    """
    from scipy.sparse import csr_matrix

    sums = np.bincount(close, traffic)
    order = np.lexsort((np.arange(len(sums)), -sums))
    kept, small = order[:rows], order[rows:]
    row = np.full(len(sums), ALONE, np.int32)
    row[kept] = np.arange(rows, dtype=np.int32)
    of_label = np.full(int(max(labels.max(), other.max())) + 1, ALONE, np.int32)  # joint label to kept row
    of_label[labels] = row[close]
    theirs = np.where(other == ALONE, ALONE, of_label[other])
    gather = csr_matrix((np.ones(len(close)), (close, np.arange(len(close)))), (len(sums), len(close)))
    degree = np.asarray(matrix.sum(0)).ravel()
    there = theirs != ALONE
    degrees = np.bincount(theirs[there], degree[there], rows).astype(np.float64)
    found = fold_in((gather @ matrix)[small], theirs, degrees, float(degree.sum()), g)
    community = np.zeros(len(sums), np.int32)
    community[close] = coarse  # of a member, where a cluster lies in several
    at_home = (found != ALONE) & (community[kept[found]] == community[small])
    home = _dealt(community[small], community[kept])
    found = np.where(at_home | (home == ALONE), found, home)
    lost = found == ALONE
    found[lost] = (splitmix64(small[lost], seed) % np.uint64(rows)).astype(np.int32)
    row[small] = found
    return row[close]


def _dealt(of: Labels, rows: Labels) -> Labels:
    """Return for each cluster a row of its own community, in turn; `ALONE` if that has none.

    of: [clusters], rows: [rows], the community of each
    """
    order = np.argsort(rows, kind="stable")
    size = int(max(of.max(), rows.max())) + 1
    has = np.bincount(rows, minlength=size)
    first = np.cumsum(has) - has
    mine = np.argsort(of, kind="stable")
    turn = np.empty(len(of), np.int64)
    turn[mine] = _places(of[mine], np.bincount(of, minlength=size))
    at = first[of] + turn % np.maximum(has[of], 1)
    return np.where(has[of] > 0, order[np.minimum(at, len(rows) - 1)], ALONE).astype(np.int32)


def split(close: Labels, traffic: NDArray[np.int64], rows: int) -> Labels:
    """Split clusters so that the heaviest row is as light as can be; members are dealt by falling traffic."""
    parts, sizes = _parts(close, traffic, rows)
    order = np.lexsort((np.arange(len(close)), -traffic, close))
    of = close[order]
    turn, position = np.divmod(_places(of, sizes), parts[of])
    position = np.where(turn % 2, parts[of] - 1 - position, position)  # there and back, so that loads even out
    return _numbered(order, of, parts, position)


def split_by_rate(close: Labels, rates: NDArray[np.float64], traffic: NDArray[np.int64], rows: int) -> Labels:
    """Split clusters, the heaviest first; each is cut into bins of members with like rates, as many in each."""
    parts, sizes = _parts(close, traffic, rows)
    order = np.lexsort((np.arange(len(close)), rates, close))
    of = close[order]
    return _numbered(order, of, parts, _places(of, sizes) * parts[of] // sizes[of])


def _parts(close: Labels, traffic: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return into how many rows each cluster is split, and its size."""
    import heapq

    sizes, sums = np.bincount(close), np.bincount(close, traffic)
    parts = np.ones(len(sizes), np.int64)
    heap = [(-float(sums[c]), c) for c in range(len(sizes)) if sizes[c] > 1]
    heapq.heapify(heap)
    for _ in range(rows - len(sizes)):
        _, c = heapq.heappop(heap)
        parts[c] += 1
        if parts[c] < sizes[c]:
            heapq.heappush(heap, (-float(sums[c]) / float(parts[c]), c))
    return parts, sizes


def _places(of: Labels, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each node within its cluster; nodes are in order of their clusters `of`."""
    return np.arange(len(of)) - (np.cumsum(sizes) - sizes)[of]


def _numbered(order: NDArray[np.int64], of: Labels, parts: NDArray[np.int64], position: NDArray[np.int64]) -> Labels:
    """Return rows: those of a cluster follow those of the one before it."""
    out = np.zeros(len(of), np.int32)
    out[order] = (np.cumsum(parts) - parts)[of] + position
    return out
