"""A bipartite graph with planted communities: what a clustering should find is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blocks:
    """Pairs of a left and a right node, one for each time they met, and the community of every node."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    left_blocks: NDArray[np.int32]
    right_blocks: NDArray[np.int32]


def planted_blocks(
    left: int, right: int, blocks: int, pairs: int, *, inside: float = 0.7, power: float = 0.5, seed: int = 0
) -> Blocks:
    """Draw pairs; a share `inside` of them within one community, degrees fall like rank to the power -`power`."""
    rng = np.random.default_rng(seed)
    one = rng.integers(0, blocks, left, dtype=np.int32)
    two = rng.integers(0, blocks, right, dtype=np.int32)
    two[:blocks] = np.arange(blocks)  # no community is without a right node
    u = _by_rank(rng, left, pairs, power)
    v = _by_rank(rng, right, pairs, power)
    within = np.flatnonzero(rng.random(pairs) < inside)
    order = np.argsort(two, kind="stable")  # by community, then by rank
    weights = np.cumsum((order + 1.0) ** -power)
    ends = np.cumsum(np.bincount(two, minlength=blocks))
    starts = np.concatenate([[0], ends[:-1]])
    base = np.concatenate([[0.0], weights])
    block = one[u[within]]
    drawn = base[starts[block]] + rng.random(len(within)) * (base[ends[block]] - base[starts[block]])
    v[within] = order[np.clip(np.searchsorted(weights, drawn, "right"), starts[block], ends[block] - 1)]
    return Blocks(u, v, one, two)


def _by_rank(rng: np.random.Generator, nodes: int, size: int, power: float) -> NDArray[np.int32]:
    weights = np.cumsum((np.arange(nodes) + 1.0) ** -power)
    return np.minimum(np.searchsorted(weights, rng.random(size) * weights[-1], "right"), nodes - 1).astype(np.int32)
