"""How much of what is scored training never saw: a sign that columns are written differently than in training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN, Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.source import open_source
from clicksmith.encode.store import Store
from clicksmith.errors import DataError

MUCH = 0.9
"""A share of unseen values above this is worth a word."""
AGED = 0.2
"""The same where ids are mapped to shared rows: a map knows the ids of its training rows alone."""
STRETCH = 256
"""Rows that are looked at one after another."""


def unseen_shares(rows: EncodedRows, layout: Layout) -> dict[str, float]:
    """Return, for each column with ids, the share of its values (padding aside) that are unseen; 0 if it has none.

    Empty cells are among them where the schema takes these as unseen: encoded rows do not tell the two apart.
    """
    found: dict[str, NDArray[np.int32]] = {column.name: rows.ids[:, i] for i, column in enumerate(layout.ids)}
    found |= {bag.name: rows.bags[bag.name] for bag in layout.bags}
    for history in layout.histories:
        found |= {column.name: rows.histories[history.name][:, :, k] for k, column in enumerate(history.columns)}
    return {name: _share(ids) for name, ids in found.items()}


def some_rows(store: Store, most: int) -> EncodedRows:
    """Return at most so many rows of a store that has some: stretches spread over it.

    Single rows would have all of a mapped file in memory.
    """
    length = min(STRETCH, most)
    if store.rows <= most:
        return store.take(np.arange(store.rows))
    starts = np.linspace(0, store.rows - length, most // length).astype(np.int64)
    return store.take(np.unique(starts[:, None] + np.arange(length)))


def unseen_notes(shares: Mapping[str, float], encoder: Encoder, mapped: Collection[str] = ()) -> list[str]:
    """Return a line for each column of which nearly all values are unseen though in training few were.

    mapped: slots whose ids a Plan maps to shared rows; of their columns a fifth more than in training is enough
    """
    layout = encoder.layout
    slots = {column.name: column.slot for column in (*layout.ids, *layout.bags)}
    slots |= {column.name: column.slot for history in layout.histories for column in history.columns}
    notes: list[str] = []
    for name, share in shares.items():
        if slots[name] not in encoder.fitted.vocabularies:
            continue  # a cross: most pairs of ids are new even where both are known
        counts = encoder.counts(slots[name])
        training = float(counts[UNSEEN] / max(1, counts.sum()))
        if share > MUCH and training < MUCH / 2:
            known = _listed(encoder, slots[name])
            notes.append(
                f"{name}: {share:.0%} of values unseen ({training:.0%} in training{known}); "
                "if they should be known, write them as in training."
            )
        elif share - training > AGED and slots[name] in mapped:
            notes.append(
                f"{name}: {share:.0%} of values unseen ({training:.0%} in training), so that they share one row and "
                "not those of the Plan's map; find the map again on newer rows (`clicksmith plan fold-in` teaches them "
                "to a model that is trained)."
            )
    return notes


def unmapped_notes(encoder: Encoder, store: Store, mapped: Collection[str], rows: int = 1 << 16) -> list[str]:
    """Return `unseen_notes` of the mapped slots' columns, from at most `rows` rows spread over a store."""
    if not mapped or not store.rows:
        return []
    shares, layout = unseen_shares(some_rows(store, rows), store.layout), encoder.layout
    slots = {column.name: column.slot for column in (*layout.ids, *layout.bags)}
    return unseen_notes({n: share for n, share in shares.items() if slots.get(n) in mapped}, encoder, mapped)


def unseen_in(encoder: Encoder, source: Any, mapped: Collection[str] = (), rows: int = 4096) -> list[str]:
    """Return `unseen_notes` for about `rows` rows spread over a source."""
    opened, columns = open_source(source), encoder.recipes[0].columns(labels=False)
    if not set(columns) <= set(opened.columns):
        return []
    try:
        encoded = encoder.encode(opened.sample(columns, rows))
    except DataError:
        return []  # reading all rows says it with the row's own number
    return unseen_notes(unseen_shares(encoded, encoder.layout), encoder, mapped)


def _share(ids: NDArray[np.int32]) -> float:
    filled = int(np.count_nonzero(ids))
    return int(np.count_nonzero(ids == UNSEEN)) / filled if filled else 0.0


def _listed(encoder: Encoder, slot: str) -> str:
    vocabulary = encoder.fitted.vocabularies[slot]
    first = vocabulary.values.to_list()[:1] if vocabulary.keep.buckets is None else []
    return f", for example {first[0]!r}" if first else ""
