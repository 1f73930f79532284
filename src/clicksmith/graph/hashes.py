"""Maps of ids to rows that know nothing of the ids: the baselines of GraphHash (arXiv 2412.17245, section 5).

Nodes are numbered from 0, rows too; padding and unseen are none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError

Rows = NDArray[np.int32]


def splitmix64(keys: Any, seed: int) -> NDArray[np.uint64]:
    """Return 64 mixed bits per key (Steele et al., OOPSLA 2014): consecutive keys fall as if by chance.

    A map (a * key + b) mod p mod rows would be an arithmetic progression on them, and leave rows empty.
    """
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        z = np.asarray(keys).astype(np.uint64) * step + np.uint64((seed + 1) * 0xD1B54A32D192ED03 % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))


def hashed(keys: Any, rows: int, seed: int) -> Rows:
    """Return a row by chance for each of at least `rows` keys; rows left empty take one key each of the fullest."""
    out = (splitmix64(keys, seed) % np.uint64(rows)).astype(np.int32)
    loads = np.bincount(out, minlength=rows)
    empty = np.flatnonzero(loads == 0)
    if not len(empty):
        return out
    by_row = np.argsort(out, kind="stable")
    rank = np.arange(len(out)) - (np.cumsum(loads) - loads)[out[by_row]]  # place of a key within its row
    spare = np.flatnonzero(rank > 0)  # the first key of a row stays
    chosen = spare[np.lexsort((spare, -rank[spare]))][: len(empty)]
    out[by_row[chosen]] = empty
    return out


def modulo(nodes: int, rows: int) -> Rows:
    """Return node mod rows: what the paper's code calls random. Nodes fall in frequency, so it spreads the head."""
    return (np.arange(nodes) % rows).astype(np.int32)


def head(traffic: NDArray[np.int64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nodes that keep a private row, the half of `rows` that is met most, and the others, both in order."""
    order = np.lexsort((np.arange(len(traffic)), -traffic))
    return np.sort(order[: rows // 2]), np.sort(order[rows // 2 :])


def under_head(traffic: NDArray[np.int64], rows: int, tail: Rows) -> Rows:
    """Return private rows for the head and, after these, the rows `tail` for the others."""
    private, others = head(traffic, rows)
    out = np.zeros(len(traffic), np.int32)
    out[private] = np.arange(len(private), dtype=np.int32)
    out[others] = tail + len(private)
    return out


def frequency(traffic: NDArray[np.int64], rows: int, seed: int) -> Rows:
    """Return private rows for the half of `rows` that is met most, hashed ones for the others."""
    private, others = head(traffic, rows)
    return under_head(traffic, rows, hashed(others, rows - len(private), seed))


def smoothed(met: NDArray[np.int64], clicked: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
    """Return click rates of ids, each drawn to the mean of all ids by `strength` rows of it."""
    mean = clicked.sum() / max(1, met.sum())
    return (clicked + strength * mean) / (met + strength)


def rate(met: NDArray[np.int64], clicked: NDArray[np.int64], rows: int, strength: float) -> Rows:
    """Return bins of ids with like smoothed training click rates, as many ids in each: a control that uses labels."""
    order = np.argsort(smoothed(met, clicked, strength), kind="stable")
    out = np.zeros(len(met), np.int32)
    out[order] = np.arange(len(met), dtype=np.int64) * rows // len(met)
    return out


def hyperplanes(nodes: Any, partners: Any, weight: Any, shape: tuple[int, int], bits: int, seed: int) -> Rows:
    """Return on which side of `bits` random hyperplanes each node's partners lie, as one number (LSH, Charikar 2002).

    The number of nodes without partners is 2 to the power `bits`, one more than any other. Memory is that of the edges.

    nodes, partners, weight: [edges]; shape: how many nodes and partners there are
    """
    random = np.random.default_rng(seed)
    found = np.zeros(shape[0], np.int32)
    for bit in range(bits):
        normal = random.standard_normal(shape[1])
        found += (np.bincount(nodes, weight * normal[partners], shape[0]) > 0).astype(np.int32) << bit
    found[np.bincount(nodes, minlength=shape[0]) == 0] = 1 << bits
    return found


def quotient_remainder(nodes: int, rows: int) -> tuple[Rows, Rows]:
    """Return two rows per node, of which no two nodes have both in common (Shi et al., KDD 2020).

    Raises UsageError: so few rows cannot tell the nodes apart.
    """
    for quotients in range(1, rows):
        remainders = rows - quotients
        if quotients * remainders >= nodes:
            node = np.arange(nodes)
            return (node // remainders).astype(np.int32), (quotients + node % remainders).astype(np.int32)
    least = int(np.ceil(2 * np.sqrt(nodes)))
    raise UsageError(
        f"{rows:,} rows cannot tell {nodes:,} ids apart by quotient and remainder; give {least:,} or more."
    )
