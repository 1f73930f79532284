"""New ids join the rows of those they behave like: a map that was found before goes on, and every old id stays put."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.fitted import Fitted
from clicksmith.encode.vocabulary import FIRST, joined
from clicksmith.errors import UsageError
from clicksmith.graph.cluster import ALONE, Labels
from clicksmith.graph.edges import empty_ids, graph_of, slot_of_field
from clicksmith.graph.exact import fold_in
from clicksmith.graph.maps import GraphHash, of_kind
from clicksmith.plan.parts import IdMaps, KeptFeatures, KeptFields
from clicksmith.plan.plan import Plan

FOLLOWING = ("graph", "hybrid", "graph_rate")
"""Kinds of maps that follow edges and have one row per id."""


@dataclass(frozen=True)
class Folded:
    """The encoder that knows the new ids; its rows are as many as before, so that weights still fit.

    new: by mapped slot, how many ids were new; joined: how many of them share a row now, the others are unseen
    """

    encoder: Encoder
    new: dict[str, int]
    joined: dict[str, int]


def fold_new_ids(encoder: Encoder, plan: Plan, source: Any, *, tables: Mapping[str, Any] | None = None) -> Folded:
    """Give the source's new ids of mapped slots the row in whose cluster most of their edges lie. Paper: graphhash.

    An id without edges to ids that have a row stays unseen. Old ids keep their rows, and other vocabularies do not
    grow. Fields and edges (clicks or all rows) are those that the map was found with.

    encoder: under the Plan; source: newer rows with labels, in which old and new ids meet; tables: newer side tables
    Raises UsageError: no map of the Plan follows edges, or values that it forgot cannot be told from new ones.
    DataError: the rows do not fit the schema, or hold no edges.
    """
    maps = _following(plan)
    raw = replace(encoder, fitted=_unmapped(encoder.fitted)).extend(source, tables=tables)
    found = dict(encoder.fitted.vocabularies)
    new: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="clicksmith-") as home:
        store = raw.encode_to(source, Path(home) / "rows")
        for part, options in maps:
            clicks, empty = options.edges == "clicks", empty_ids(raw)
            graph = graph_of(store, options.left, options.right, clicks=clicks, empty=empty)
            edges = graph.edges if options.weighted else graph.edges.unweighted()
            for slot in part.slots:
                matrix = edges.matrix()
                if slot != slot_of_field(store.layout, options.left):
                    matrix = matrix.T.tocsr()
                old, numbered = encoder.fitted.vocabularies[slot], raw.fitted.vocabularies[slot]
                rows = np.full(matrix.shape[0], ALONE, np.int32)
                rows[: len(old.counts)] = np.where(old.ids[1:-1] >= FIRST, old.ids[1:-1] - FIRST, ALONE)
                if options.kind == "hybrid":  # a row of one id is its own
                    rows[(rows != ALONE) & (np.bincount(rows[rows != ALONE])[rows] == 1)] = ALONE
                new[slot] = len(numbered.counts) - len(old.counts)
                found[slot] = joined(old, numbered, rows_of_new(matrix, rows, new[slot]) + FIRST)
    grown = replace(encoder, tables=raw.tables).with_vocabularies(found)
    known = {slot: len(encoder.fitted.vocabularies[slot].counts) for slot in new}
    return Folded(grown, new, {slot: len(found[slot].counts) - known[slot] for slot in new})


def rows_of_new(matrix: Any, rows: Labels, new: int) -> Labels:
    """Return the row of each of the last `new` nodes, `ALONE` for one that meets no node near a row. Paper: graphhash.

    Rows are clusters of one side: every partner first goes to the row in which it raises the modularity most, and a
    new node then to the row of most of its partners, likewise; each is one local move.

    matrix: [nodes, partners] weights, sparse; rows: [nodes], `ALONE` where a node has none that others may join
    """
    if new == 0 or (rows == ALONE).all():
        return np.full(new, ALONE, np.int32)
    degree, theirs = np.asarray(matrix.sum(1)).ravel(), np.asarray(matrix.sum(0)).ravel()
    total, known = float(degree.sum()), rows != ALONE
    size = int(rows.max()) + 1
    homes = fold_in(matrix.T.tocsr(), rows, np.bincount(rows[known], degree[known], size).astype(np.float64), total)
    near = homes != ALONE
    return fold_in(
        matrix[len(rows) - new :], homes, np.bincount(homes[near], theirs[near], size).astype(np.float64), total
    )


def _following(plan: Plan) -> list[tuple[IdMaps, GraphHash]]:
    """Return the maps that follow edges, with what they were asked for."""
    maps = [part for part in plan.parts if isinstance(part, IdMaps)]
    if not maps:
        raise UsageError(
            "the Plan maps no ids, so there are no rows to join; `clicksmith search graphhash` finds maps."
        )
    found = [(p, options) for p in maps if (options := _asked(p)) is not None]
    if not found:
        kinds = ", ".join(
            f"{slot} ({p.found_by.settings.get('kind', p.found_by.method)})" for p in maps for slot in p.slots
        )
        raise UsageError(
            f"no map of the Plan has rows that new ids could join by their edges: {kinds}. Maps of the kinds "
            f"{', '.join(FOLLOWING)} have; under others new ids are unseen until the map is found again."
        )
    mapped = {slot for part, _ in found for slot in part.slots}
    dropped = {name: part for part in plan.parts if isinstance(part, KeptFields) for name in part.drop}
    for part, options in found:
        for name in (options.left, options.right):
            if name in dropped:
                raise UsageError(
                    f"{part.name} follows the edges of '{options.left}' and '{options.right}', and "
                    f"{dropped[name].name} drops '{name}', so that new rows give no edges; keep '{name}', or find the "
                    "map again on newer rows."
                )
    for part in plan.parts:
        if isinstance(part, KeptFeatures) and part.dropped_to == "unseen" and (both := mapped & set(part.slots)):
            raise UsageError(
                f"{part.name} forgot values of {', '.join(sorted(both))}, which cannot be told from new ones; "
                "drop features to zero, or find the map again on newer rows."
            )
    return found


def _asked(part: IdMaps) -> GraphHash | None:
    """Return what a map was asked for; None if it does not follow edges, or gives an id two rows."""
    asked = part.found_by.settings
    try:
        options = msgspec.convert(of_kind(asked, asked.get("kind", "graph")), GraphHash)
    except (msgspec.ValidationError, UsageError):
        return None
    return options if options.kind in FOLLOWING else None


def _unmapped(fitted: Fitted) -> Fitted:
    """Return the vocabularies with an id of its own for every value."""
    own = {slot: replace(v, remap=None, plain="") for slot, v in fitted.vocabularies.items()}
    return Fitted(fitted.schema, own, fitted.scales)
