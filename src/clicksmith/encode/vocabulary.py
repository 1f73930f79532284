"""Vocabularies: value -> id, with the training count of every id and of the values that were too rare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.dictionary import Dictionary, new_dictionary
from clicksmith.encode.layout import UNSEEN
from clicksmith.encode.texts import Packed, pack

FIRST = 2
"""The first id of a value: 0 is padding, 1 is unseen."""


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which values of a slot get an id."""

    min_count: int = 1
    max_size: int | None = None
    buckets: int | None = None
    edges: tuple[float, ...] = ()
    """Of a number that is cut into quantiles, whose values are the numbers of the cuts."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The values of one slot: id `2 + i` belongs to value i.

    counts: [values] how often training met each value
    rare, rare_counts: the values without an id, kept so that encoders can be merged and extended
    blank: how often an empty cell was taken as unseen
    remap: [values] the id of each value where a Plan decides it, instead of 2 + i: rows are shared, `ZERO`, `LEFT_OUT`,
        or unseen
    plain: the numbering that the Plan started from, see `numbering`
    """

    keep: Keep
    values: Packed
    counts: NDArray[np.int64]
    rare: Packed
    rare_counts: NDArray[np.int64]
    blank: int = 0
    remap: NDArray[np.int32] | None = None
    plain: str = ""

    @property
    def rows(self) -> int:
        """Number of ids, padding and unseen included."""
        if self.remap is not None:
            return max(FIRST, int(self.remap.max(initial=0)) + 1)
        return FIRST + len(self.counts)

    @property
    def zeros(self) -> bool:
        """Whether some value has the id `ZERO`."""
        return self.remap is not None and bool((self.remap < 0).any())

    @cached_property
    def numbering(self) -> str:
        """SHA-256 of which value has which id: what a Plan's ids refer to."""
        return self.plain or numbering_of(self.values, self.keep)

    @cached_property
    def empty_id(self) -> int | None:
        """The id of the empty cell, None where it is not a value of its own."""
        lengths = np.diff(self.values.ends, prepend=0)
        places = np.flatnonzero(lengths == 0)
        return int(self.ids[1 + places[0]]) if len(places) else None

    @property
    def training_counts(self) -> NDArray[np.int64]:
        """How often training met each id: [rows], 0 for padding, the rare and blank ones for unseen."""
        unseen = self.blank + int(self.rare_counts.sum())
        if self.remap is None:
            return np.concatenate([np.array([0, unseen], np.int64), self.counts])
        counts = np.zeros(self.rows, np.int64)
        there = self.remap >= 0
        np.add.at(counts, self.remap[there], self.counts[there])
        counts[UNSEEN] += unseen
        return counts

    @cached_property
    def dictionary(self) -> Dictionary:
        """The values in id order: code c (number + 1) has id c + 1."""
        dictionary = new_dictionary(self.keep.buckets)
        dictionary.load(self.values, self.counts)
        return dictionary

    @cached_property
    def ids(self) -> NDArray[np.int32]:
        """Id by code of `dictionary`; the last entry, for code -1, is unseen."""
        ids = np.arange(1, len(self.counts) + 3, dtype=np.int32)
        ids[0], ids[-1] = 0, 1
        if self.remap is not None:
            ids[1:-1] = self.remap
        return ids


def numbering_of(values: Packed, keep: Keep) -> str:
    """Return the digest of a numbering: of the values in order and what they are cut by, or of the buckets."""
    state = hashlib.sha256(str(keep.buckets).encode())
    state.update(str(keep.edges).encode() if keep.edges else b"")
    state.update(np.ascontiguousarray(values.text).tobytes())
    state.update(np.ascontiguousarray(values.ends).tobytes())
    return state.hexdigest()


def settle(keep: Keep, dictionary: Dictionary, blank: int = 0) -> tuple[Vocabulary, NDArray[np.int32]]:
    """Number values by falling count, ties by value; also return the id by code, unseen for -1 as last entry."""
    counts = dictionary.counts()
    if keep.buckets is not None:
        vocabulary = Vocabulary(keep, pack([]), counts, pack([]), np.zeros(0, np.int64), blank)
        return vocabulary, vocabulary.ids
    order = dictionary.rank(max(1, keep.min_count))[: keep.max_size]
    return _arranged(keep, dictionary, counts, order, blank)


def _arranged(
    keep: Keep, dictionary: Dictionary, counts: NDArray[np.int64], order: NDArray[np.int32], blank: int
) -> tuple[Vocabulary, NDArray[np.int32]]:
    ids = np.ones(len(dictionary) + 2, np.int32)
    ids[0] = 0
    ids[1 + order] = np.arange(FIRST, FIRST + len(order), dtype=np.int32)
    left = counts > 0
    left[order] = False
    rare = np.flatnonzero(left).astype(np.int32)
    values, others = dictionary.pick(order), dictionary.pick(rare)
    return Vocabulary(keep, values, counts[order], others, counts[rare], blank), ids


def merged(one: Vocabulary, two: Vocabulary) -> Vocabulary:
    """Return the vocabulary that a fit on both parts would give."""
    dictionary = new_dictionary(one.keep.buckets)
    for part in (one, two):
        dictionary.load(part.values, part.counts)
        dictionary.load(part.rare, part.rare_counts)
    return settle(one.keep, dictionary, one.blank + two.blank)[0]


def extended(old: Vocabulary, new: Vocabulary) -> Vocabulary:
    """Return `old` with the counts of `new` added: old ids stay, values that are now frequent enough are appended.

    Where a Plan decided the ids nothing is appended: a value that it has no say on is unseen, as it was in the search.
    """
    if old.keep.buckets is not None:
        return replace(old, counts=old.counts + new.counts, blank=old.blank + new.blank)
    dictionary = new_dictionary()
    for values, counts in ((old.values, old.counts), (old.rare, old.rare_counts)):
        dictionary.load(values, counts)
    for values, counts in ((new.values, new.counts), (new.rare, new.rare_counts)):
        dictionary.load(values, counts)
    first = len(old.counts)
    order = np.arange(first, dtype=np.int32)
    if old.remap is None:
        order = np.concatenate([order, dictionary.rank(max(1, old.keep.min_count), first)])
        order = order[: None if old.keep.max_size is None else max(first, old.keep.max_size)]
    found = _arranged(old.keep, dictionary, dictionary.counts(), order, old.blank + new.blank)[0]
    return replace(found, remap=old.remap, plain=old.plain)


def joined(old: Vocabulary, numbered: Vocabulary, ids: NDArray[np.int32]) -> Vocabulary:
    """Return `old` with those new values of `numbered` that have an id; the others are as rare ones.

    numbered: `old` extended, with an id of its own for every value; ids: [new values] of rows there are, or unseen
    """
    if old.keep.buckets is not None:
        return old
    first, chosen = len(old.counts), np.flatnonzero(ids >= FIRST).astype(np.int32)
    dictionary = new_dictionary()
    dictionary.load(numbered.values, numbered.counts)
    dictionary.load(numbered.rare, numbered.rare_counts)
    order = np.concatenate([np.arange(first, dtype=np.int32), first + chosen])
    found = _arranged(old.keep, dictionary, dictionary.counts(), order, numbered.blank)[0]
    return replace(found, remap=np.concatenate([old.ids[1:-1], ids[chosen]]), plain=old.plain)


def of_counts(keep: Keep, counts: Mapping[str, int]) -> Vocabulary:
    """Return the vocabulary of values with these counts."""
    dictionary = new_dictionary()
    dictionary.load(pack(list(counts)), np.array(list(counts.values()), np.int64))
    return settle(keep, dictionary)[0]
