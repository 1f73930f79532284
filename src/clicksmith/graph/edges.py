"""The bipartite graph of two id spaces: which id was met with which, how often, in training rows only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import Layout
from clicksmith.encode.store import Store
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import DataError, UsageError
from clicksmith.names import unknown

PIECE = 1_000_000
"""Rows that are read at once."""

Nodes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by (left, right), each pair once. Node j of a side is id j + 2 of its slot.

    left, right: [edges] node of each side; weight: [edges] positive; shape: nodes of both sides, isolated ones included
    """

    left: Nodes
    right: Nodes
    weight: NDArray[np.float32]
    shape: tuple[int, int]

    @staticmethod
    def of(left: Any, right: Any, weight: Any, shape: tuple[int, int]) -> Edges:
        """Return edges in order, those of a pair added up.

        Raises DataError: a node outside the shape, or a weight that is negative or not finite.
        """
        left, right, weight = np.asarray(left), np.asarray(right), np.asarray(weight, np.float32)
        bad = np.flatnonzero(~np.isfinite(weight) | (weight < 0))
        if len(bad):
            at = int(bad[0])
            raise DataError(f"edge {at} has weight {weight[at]}; weights are finite and not negative.")
        for nodes, size, side in ((left, shape[0], "left"), (right, shape[1], "right")):
            if len(nodes) and not 0 <= int(nodes.min()) <= int(nodes.max()) < size:
                worst = int(nodes.max()) if int(nodes.max()) >= size else int(nodes.min())
                raise DataError(f"an edge names {side} node {worst}; there are {size:,}. Encode the rows again.")
        used = weight > 0
        keys, weights = _added(left[used].astype(np.int64) * shape[1] + right[used], weight[used])
        return Edges(*_apart(keys, shape[1]), weights, shape)

    def __len__(self) -> int:
        return len(self.weight)

    def merge(self, other: Edges) -> Edges:
        """Return the edges of the rows of both. Raises DataError if they are of different id spaces."""
        if self.shape != other.shape:
            raise DataError(f"edges of {self.shape} and of {other.shape} nodes; encode all rows with one encoder.")
        both = [(e.left.astype(np.int64) * self.shape[1] + e.right, e.weight) for e in (self, other)]
        keys, weights = _added(np.concatenate([b[0] for b in both]), np.concatenate([b[1] for b in both]))
        return Edges(*_apart(keys, self.shape[1]), weights, self.shape)

    def unweighted(self) -> Edges:
        """Return the same edges, each with weight 1."""
        return Edges(self.left, self.right, np.ones(len(self), np.float32), self.shape)

    def degrees(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the total weight at each node of both sides."""
        return (
            np.bincount(self.left, self.weight, self.shape[0]).astype(np.float64),
            np.bincount(self.right, self.weight, self.shape[1]).astype(np.float64),
        )

    def matrix(self) -> Any:
        """Return the biadjacency matrix [left, right] (scipy, compressed rows) without copying the edges."""
        from scipy.sparse import csr_matrix

        starts = np.zeros(self.shape[0] + 1, np.int32)
        np.cumsum(np.bincount(self.left, minlength=self.shape[0]), out=starts[1:])
        return csr_matrix((self.weight, self.right, starts), self.shape)


@dataclass(frozen=True, eq=False)
class Graph:
    """What training rows say of two id spaces.

    met, clicked: for both sides, [nodes] how many rows have the id, and how many of these were clicked
    empty: for both sides, the nodes of empty cells: no one, who meets no one
    """

    edges: Edges
    met: tuple[NDArray[np.int64], NDArray[np.int64]]
    clicked: tuple[NDArray[np.int64], NDArray[np.int64]]
    empty: tuple[NDArray[np.int64], NDArray[np.int64]]


def slot_of_field(layout: Layout, field: str) -> str:
    """Return the slot of an id field. Raises UsageError: there is no such field, or it has no single id per row."""
    ids = {c.name: c.slot for c in layout.ids}
    if field in ids:
        return ids[field]
    kinds = {c.name: "numeric" for c in layout.numeric} | {c.name: "a bag" for c in layout.bags}
    kinds |= {c.name: "a vector" for c in layout.vectors} | {h.name: "a history" for h in layout.histories}
    if field in kinds:
        raise UsageError(
            f"'{field}' is {kinds[field]}; a graph is made of fields with one id per row: {', '.join(ids)}."
        )
    raise UsageError(unknown(field, ids, "id field"))


def empty_ids(encoder: Encoder) -> dict[str, int]:
    """Return the id of the empty cell of each slot in which it has one."""
    found = {slot: vocabulary.empty_id for slot, vocabulary in encoder.fitted.vocabularies.items()}
    return {slot: id_ for slot, id_ in found.items() if id_ is not None}


def graph_of(
    store: Store,
    left: str,
    right: str | None,
    *,
    clicks: bool = True,
    empty: Mapping[str, int] = MappingProxyType({}),
    meeting: bool = True,
) -> Graph:
    """Read the graph of two id fields, or of an id field and all the others, from encoded training rows.

    Padding and unseen ids have no node. Memory is that of the distinct edges, whatever the number of rows.

    clicks: only rows with a positive (first) label make edges; else every row does
    empty: ids that stand for an empty cell, by slot; they make no edges, since their rows have nothing in common
    meeting: whether edges are read; without them there are the rows and clicks of each id, of `left` alone if need be
    Raises UsageError: not two different id fields. DataError: no edges, or a side with one id.
    """
    layout = store.layout
    names = [c.name for c in layout.ids]
    one = slot_of_field(layout, left)
    if right is not None and slot_of_field(layout, right) == one:
        raise UsageError(f"left '{left}' and right '{right}' are the same ids; name two different id fields.")
    others = [c.name for c in layout.ids if c.slot != one] if right is None else [right]
    if not others and meeting:
        raise UsageError(f"'{left}' is the only id field; a graph needs ids to meet.")
    sizes = {s.name: s.rows - FIRST for s in layout.slots}
    starts, total = [], 0
    for name in others:
        starts.append(total)
        total += sizes[slot_of_field(layout, name)]
    shape = (sizes[one], total)
    for name, size in ((left, shape[0]), (right or "the other fields", total)):
        if size < 2 and (name in (left, right) or meeting):
            raise DataError(f"'{name}' has {size} id in the training rows; nothing can be shared. Leave it out.")
    made = _Added(shape)
    no_one = empty.get(one, 0) - FIRST
    nobody = {name: empty.get(slot_of_field(layout, name), 0) - FIRST for name in others}
    met, clicked = (tuple(np.zeros(size, np.int64) for size in shape) for _ in range(2))
    for start in range(0, store.rows, PIECE):
        rows = store.slice(start, start + PIECE)
        click = np.asarray(store.targets["labels"][start : start + PIECE, 0] > 0)
        ids = np.asarray(rows.ids)[:, names.index(left)].astype(np.int64) - FIRST
        for name, offset in zip(others, starts, strict=True):
            partner = np.asarray(rows.ids)[:, names.index(name)].astype(np.int64) - FIRST
            if meeting:
                there = (ids >= 0) & (ids != no_one) & (partner >= 0) & (partner != nobody[name])
                there &= click if clicks else True
                made.add(ids[there] * total + partner[there] + offset)
            np.add(met[1], _count(partner, offset, total), out=met[1])
            np.add(clicked[1], _count(partner[click], offset, total), out=clicked[1])
        np.add(met[0], _count(ids, 0, shape[0]), out=met[0])
        np.add(clicked[0], _count(ids[click], 0, shape[0]), out=clicked[0])
    edges = made.edges()
    if meeting and not len(edges):
        what = "no clicked row has" if clicks else "no row has"
        both = f"'{left}' and {'another field' if right is None else repr(right)}"
        more = ", or take rows without a click too: edges 'all'" if clicks else ""
        raise DataError(f"there are no edges: {what} known ids of both {both}. Give rows in which they meet{more}.")
    own = np.array([no_one] if no_one >= 0 else [], np.int64)
    theirs = [nobody[name] + offset for name, offset in zip(others, starts, strict=True) if nobody[name] >= 0]
    return Graph(edges, (met[0], met[1]), (clicked[0], clicked[1]), (own, np.array(theirs, np.int64)))


class _Added:
    """Edges of pieces, added up whenever as many are waiting as are known: each is sorted a few times at most."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.known = shape, (np.zeros(0, np.int64), np.zeros(0, np.float32))
        self.waiting: list[NDArray[np.int64]] = []

    def add(self, keys: NDArray[np.int64]) -> None:
        self.waiting.append(keys)
        if sum(len(k) for k in self.waiting) >= max(2 * PIECE, len(self.known[0])):
            self._settle()

    def _settle(self) -> None:
        keys = np.concatenate([self.known[0], *self.waiting])
        ones = np.ones(len(keys) - len(self.known[0]), np.float32)
        self.waiting, self.known = [], _added(keys, np.concatenate([self.known[1], ones]))

    def edges(self) -> Edges:
        self._settle()
        return Edges(*_apart(self.known[0], self.shape[1]), self.known[1], self.shape)


def _added(keys: NDArray[np.int64], weights: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return distinct keys in rising order with the sums of their weights."""
    if not len(keys):
        return keys, weights
    if len(keys) > 1 and not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys, weights = keys[order], weights[order]
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        keys, weights = keys[first], np.add.reduceat(weights, first)
    return keys, weights


def _apart(keys: NDArray[np.int64], width: int) -> tuple[Nodes, Nodes]:
    return (keys // width).astype(np.int32), (keys % width).astype(np.int32)


def _count(nodes: NDArray[np.int64], offset: int, size: int) -> NDArray[np.int64]:
    return np.bincount(nodes[nodes >= 0] + offset, minlength=size).astype(np.int64)
