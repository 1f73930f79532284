"""GraphHash and what it is compared with: encoded training rows to the part of a Plan that maps ids to shared rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.store import Store
from clicksmith.encode.vocabulary import FIRST
from clicksmith.errors import UsageError
from clicksmith.graph import hashes
from clicksmith.graph.cluster import Clusters, Labels, Library, cluster, modularity, needs
from clicksmith.graph.edges import Graph, empty_ids, graph_of, slot_of_field
from clicksmith.graph.exact import check_rows, exact_rows, search, split, split_by_rate
from clicksmith.graph.hashes import Rows
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FoundBy, IdMap, IdMaps

Kind = Literal[
    "graph", "double_graph", "hybrid", "graph_rate", "rate",
    "lsh", "random", "modulo", "double", "frequency", "double_frequency", "quotient",
]  # fmt: skip
CLUSTERED: tuple[Kind, ...] = ("graph", "double_graph", "hybrid", "graph_rate")
DOUBLED: tuple[Kind, ...] = ("double_graph", "double", "double_frequency", "quotient")
"""Kinds whose vectors are sums of two rows."""
MEETING: tuple[Kind, ...] = (*CLUSTERED, "lsh")
"""Kinds that read who met whom."""
OF_KINDS: dict[str, tuple[Kind, ...]] = {
    "resolution": CLUSTERED, "library": CLUSTERED, "edges": MEETING, "weighted": MEETING,
    "smoothing": ("rate", "graph_rate"),
}  # fmt: skip
"""The kinds that an option is of, where it is not of all."""


def of_kind(given: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return those of the options of `GraphHash` that do something with a kind."""
    return {name: value for name, value in given.items() if kind in OF_KINDS.get(name, (kind,))}


class GraphHash(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ids share rows. Paper: graphhash."""

    left: str = ""
    """An id field, as the user; it must be named."""
    right: str | None = None
    """The id field it meets, as the item; all other id fields if not given."""
    maps: Literal["both", "left", "right"] = "both"
    """Whose ids are mapped; without a right field, the left one's."""
    kind: Kind = "graph"
    """graph: clusters. double_graph: cluster plus hash. hybrid: private rows for the head, clusters for the tail.
    rate: bins of the click rate (uses labels). graph_rate: clusters, each cut into such bins. lsh: like partners by
    random hyperplanes. The others are hashes."""
    rows: float | None = 0.25
    """Rows of each map: below 1 a share of the ids, else a number. None: as many as the resolution gives."""
    resolution: float | None = None
    """Of the clustering; searched for the rows if not given."""
    edges: Literal["clicks", "all"] = "clicks"
    """Which training rows make edges; the paper's code takes all."""
    weighted: bool = True
    """An edge weighs as much as rows have the pair; else 1."""
    library: Library = "scikit-network"
    """scikit-network: the paper's. networkit: higher modularity; install it yourself."""
    smoothing: float = 20.0
    """Rows of the mean click rate that are added to each id's own, for rate."""

    def __post_init__(self) -> None:
        """Check what can be checked without data."""
        if not self.left:
            raise UsageError(
                "left is missing: name the id field whose ids are to share rows, --search.left NAME; "
                "`clicksmith describe FILE` lists the fields."
            )
        if self.rows is not None and not (0 < self.rows < 1 or (self.rows >= 2 and float(self.rows).is_integer())):
            raise UsageError(f"rows is {self.rows}; give a share of the ids below 1, or a whole number from 2.")
        if self.rows is None and (self.resolution is None or self.kind != "graph"):
            raise UsageError(f"rows is not given, and {self.kind} without a resolution does not say how many; give it.")
        if self.resolution is not None and not 0 < self.resolution < inf:
            raise UsageError(f"the resolution is {self.resolution}; it must be above 0 (1 is plain modularity).")
        if self.right is None and self.maps == "right":
            raise UsageError("maps is 'right', and no right field is named; name it.")
        if not 0 < self.smoothing < inf:
            raise UsageError(f"smoothing is {self.smoothing}; it must be above 0.")
        for name, kinds in OF_KINDS.items():
            default = next(field.default for field in msgspec.structs.fields(self) if field.name == name)
            if self.kind not in kinds and getattr(self, name) != default:
                raise UsageError(
                    f"{name} does nothing with kind '{self.kind}': it is of {', '.join(kinds)}; leave it out."
                )

    @property
    def mapped(self) -> list[tuple[int, str]]:
        """The sides of the graph whose ids are mapped, 0 or 1, with their fields."""
        sides = [(0, self.left)] if self.right is None else [(0, self.left), (1, self.right)]
        return sides if self.maps == "both" or self.right is None else [sides[self.maps == "right"]]


def graph_hash(encoder: Encoder, store: Store, options: GraphHash, *, seed: int = 0) -> IdMaps:
    """Return the part of a Plan with the map of each side's ids. Paper: graphhash.

    encoder, store: fitted on and holding the training rows. Raises UsageError, DataError: as `shared_rows` does.
    """
    slots, scores = shared_rows(store, options, seed=seed, empty=empty_ids(encoder))
    names = numbering(encoder)
    found_by = FoundBy(
        method="graphhash",
        seed=seed,
        settings=msgspec.to_builtins(options),
        data={"train": store.digest},
        scores=scores,
    )
    return IdMaps(numbering={slot: names[slot] for slot in slots}, found_by=found_by, slots=slots)


def shared_rows(
    store: Store, options: GraphHash, *, seed: int = 0, empty: Mapping[str, int] = MappingProxyType({})
) -> tuple[dict[str, IdMap], dict[str, float]]:
    """Return the map of each side's ids by slot, and what there is to know of them in numbers.

    empty: the ids of empty cells, by slot; see `graph_of`
    Raises UsageError, DataError: as `graph_of` says, the clustering library is absent, or the size cannot be met.
    """
    if options.kind in CLUSTERED:
        needs(options.library)
    meeting = options.kind in MEETING
    graph = graph_of(
        store, options.left, options.right, clicks=options.edges == "clicks", empty=empty, meeting=meeting
    )  # fmt: skip
    graph = graph if options.weighted else replace(graph, edges=graph.edges.unweighted())
    made = _Maps(graph, options, seed)
    slots: dict[str, IdMap] = {}
    scores: dict[str, float] = {"edges": len(graph.edges)} if meeting else {}
    for side, field in options.mapped:
        first, second = made.side(side, field)
        rows = int(max(first.max(), -1 if second is None else second.max())) + 1
        slot = slot_of_field(store.layout, field)
        slots[slot] = IdMap(rows=rows + FIRST, ids=_array(first), second=None if second is None else _array(second))
        scores[f"rows.{slot}"] = rows
        if side in made.used:
            scores |= {f"{name}.{slot}": value for name, value in made.told(side).items()}
    return slots, scores


@dataclass
class _Maps:
    """The maps of a graph; clusterings are kept, since both sides may take the same one."""

    graph: Graph
    options: GraphHash
    seed: int

    def __post_init__(self) -> None:
        self.runs: dict[float, Clusters] = {}
        self.used: dict[int, Clusters] = {}

    def side(self, side: int, field: str) -> tuple[Rows, Rows | None]:
        """Return the row of each node of a side, and the second row for kinds that sum two."""
        met, seed, kind = self.graph.met[side], self.seed, self.options.kind
        nodes = len(met)
        try:
            if self.options.rows is None:
                return self._graph(side, None)
            rows = round(nodes * self.options.rows) if self.options.rows < 1 else int(self.options.rows)
            check_rows(rows, nodes)
            if kind == "graph":
                return self._graph(side, rows)
            if kind == "hybrid":
                if rows < 3:
                    raise UsageError(f"a hybrid of {rows} rows has none left for clusters: give at least 3.")
                tail = hashes.head(met, rows)[1]
                return hashes.under_head(met, rows, self._clustered(side, rows - rows // 2, tail)), None
            if kind == "double_graph":
                return hashes.hashed(np.arange(nodes), rows, seed), self._clustered(side, rows)
            if kind == "graph_rate":
                clusters = self._clustered(side, max(2, round(rows**0.5)))  # so that each has as many bins
                rates = hashes.smoothed(met, self.graph.clicked[side], self.options.smoothing)
                return split_by_rate(clusters, rates, self._traffic(side), rows), None
            if kind == "lsh":
                return self._hyperplanes(side, rows), None
            if kind == "rate":
                return hashes.rate(met, self.graph.clicked[side], rows, self.options.smoothing), None
            if kind == "quotient":
                return hashes.quotient_remainder(nodes, rows)
            if kind == "modulo":
                return hashes.modulo(nodes, rows), None
            if kind in ("random", "double"):
                second = hashes.hashed(np.arange(nodes), rows, seed + 1) if kind == "double" else None
                return hashes.hashed(np.arange(nodes), rows, seed), second
            second = hashes.frequency(met, rows, seed + 1) if kind == "double_frequency" else None
            return hashes.frequency(met, rows, seed), second
        except UsageError as error:
            raise UsageError(f"field '{field}': {error}") from error

    def told(self, side: int) -> dict[str, float]:
        """Return how the clustering that a side took came out."""
        used, edges = self.used[side], self.graph.edges
        labels = (used.left, used.right)[side]
        return {
            "resolution": used.resolution,
            "clusters": len(np.unique(labels[labels >= 0])),
            "modularity": modularity(edges, used.left, used.right, used.resolution),
            "isolated": float((labels < 0).mean()),
        }

    def _hyperplanes(self, side: int, rows: int) -> Rows:
        """Return exactly `rows` rows by random hyperplanes: no more numbers than rows, of which the heaviest are split.

        Paper: graphhash, the baseline LSH-structure; its code has a bit more and as many rows as come out.
        """
        edges, (left, right) = self.graph.edges, self.graph.edges.shape
        mine, theirs, shape = edges.left, edges.right, (left, right)
        if side == 1:
            mine, theirs, shape = theirs, mine, (right, left)
        bits = (rows - 1).bit_length() - 1  # one row is left for nodes without partners
        found = hashes.hyperplanes(mine, theirs, edges.weight, shape, bits, self.seed)
        _, close = np.unique(found, return_inverse=True)
        return split(close.astype(np.int32), self._traffic(side), rows)

    def _traffic(self, side: int) -> NDArray[np.int64]:
        """Return the rows of each node; none for an empty cell, which however frequent is one node without edges."""
        traffic = self.graph.met[side].copy()
        traffic[self.graph.empty[side]] = 0
        return traffic

    def _graph(self, side: int, rows: int | None) -> tuple[Rows, None]:
        return self._clustered(side, rows), None

    def _clustered(self, side: int, rows: int | None, nodes: NDArray[np.int64] | None = None) -> Rows:
        """Return exactly `rows` rows for the nodes of a side, or for some of them."""
        chosen = np.arange(len(self.graph.met[side])) if nodes is None else nodes

        def labels(found: Clusters) -> tuple[Labels, Labels]:
            return (found.left, found.right) if side == 0 else (found.right, found.left)

        def count(found: Clusters) -> int:
            own = labels(found)[0][chosen]
            return len(np.unique(own[own >= 0]))

        if self.options.resolution is None:
            assert rows is not None
            used, coarsest = search(self._run, count, rows)
        else:
            used = coarsest = self._run(self.options.resolution)
        self.used[side] = used
        own, other = labels(used)
        matrix = self.graph.edges.matrix()
        matrix = matrix if side == 0 else matrix.T.tocsr()
        matrix = matrix if nodes is None else matrix[chosen]
        traffic, coarse = self._traffic(side)[chosen], labels(coarsest)[0][chosen]
        return exact_rows(own[chosen], coarse, other, matrix, traffic, rows, resolution=used.resolution, seed=self.seed)

    def _run(self, resolution: float) -> Clusters:
        if resolution not in self.runs:
            self.runs[resolution] = cluster(
                self.graph.edges, resolution=resolution, seed=self.seed, library=self.options.library
            )
        return self.runs[resolution]


def _array(rows: Rows) -> Array:
    """Return the row of each id: padding and unseen keep theirs, the others come after."""
    return Array(np.concatenate([np.arange(FIRST, dtype=np.int32), rows + FIRST]).astype(np.int32))
