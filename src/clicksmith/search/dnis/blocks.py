"""Blocks of features of similar frequency, as ranges of ids in each slot. Paper: dnis, section 4.1."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clicksmith.embed.table import Plain
from clicksmith.errors import CompositionError, UsageError
from clicksmith.models.spec import shapes_of
from clicksmith.plan.parts import FIRST
from clicksmith.search.method import Asked, require_values
from clicksmith.train.counts import id_counts

Group = Literal["global", "field"]


@dataclass(frozen=True, slots=True)
class Band:
    """The ids `first` ... `last` - 1 of a slot share row `row` of alpha."""

    slot: str
    first: int
    last: int
    row: int


def check_blocks(blocks: tuple[float, ...], *, rest: bool) -> None:
    """Raise UsageError: the blocks are neither shares that sum to 1 nor numbers of features."""
    if not blocks or any(not 0 < b < float("inf") for b in blocks):
        raise UsageError(f"blocks are {blocks}; give shares above 0 that sum to 1, or numbers of features.")
    if max(blocks) <= 1:
        total = sum(blocks)
        if total > 1 + 1e-6 or (total < 1 - 1e-6 and not rest):
            raise UsageError(f"the shares of the blocks {blocks} sum to {total:g}, not to 1 (rest=true adds the rest).")
    elif any(b != int(b) for b in blocks):
        raise UsageError(f"blocks are {blocks}; numbers of features are whole, and shares are at most 1.")


def sizes_of(blocks: tuple[float, ...], features: int, *, rest: bool, of: str = "all fields together") -> list[int]:
    """Return how many features each block has, the most frequent first; together all of them.

    Raises UsageError: they hold more or fewer features than there are of `of`.

    >>> sizes_of((0.1, 0.2, 0.7), 11, rest=False), sizes_of((2, 3), 11, rest=True)
    ([1, 2, 8], [2, 3, 6])
    """
    if max(blocks) <= 1:
        ends = [round(share * features) for share in np.cumsum(blocks)]
    else:
        ends = [int(end) for end in np.cumsum(blocks)]
        if ends[-1] > features or (ends[-1] < features and not rest):
            way = "smaller ones" if ends[-1] > features else "rest=true for a last block of the rest"
            raise UsageError(
                f"blocks are {tuple(int(b) for b in blocks)}, which hold {ends[-1]:,} features, and of {of} there are "
                f"{features:,}; give shares, or {way}."
            )
    if not rest:
        ends[-1] = features
    elif ends[-1] < features:
        ends.append(features)
    return [b - a for a, b in pairwise([0, *ends])]


def bands_in(
    asked: Asked, blocks: tuple[float, ...], *, method: str, group: Group, rest: bool
) -> tuple[list[Band], list[str]]:
    """Return the bands of the training rows, and notes, as `bands_of`.

    Raises UsageError: the blocks do not fit. CompositionError: the backbone has no plain table of vectors to cut.
    """
    require_values(asked.layout, method)
    if "vectors" not in shapes_of(asked.spec, asked.layout).reads:
        raise CompositionError(
            f"{method} gives vectors their columns, and this backbone reads none from a table of ids."
        )
    table = asked.spec.embed.table
    if not isinstance(table, Plain):
        raise CompositionError(
            f"{method} gives the vectors of a plain table their columns, and the table here is {type(table).__name__}: "
            "under a Plan that has columns, ranks or double maps already, or of a backbone that brings its own. "
            "Leave that Plan out, or use another backbone."
        )
    occurrences, known = id_counts(asked.train), asked.encoder.fitted.vocabularies
    counts = {slot.name: occurrences[slot.name].numpy() for slot in asked.layout.slots}
    alone = [slot for slot in counts if np.any(np.diff(known[slot].training_counts[FIRST:]) > 0)]
    return bands_of(counts, blocks, group=group, rest=rest, alone=alone)


def bands_of(
    counts: Mapping[str, NDArray[np.int64]],
    blocks: tuple[float, ...],
    *,
    group: Group,
    rest: bool = False,
    alone: Collection[str] = (),
) -> tuple[list[Band], list[str]]:
    """Return the bands and notes; rows of alpha are numbered over all of them, without gaps.

    Raises UsageError: the blocks do not fit the number of features.

    Args:
        counts: slot to occurrences of each id in training. Ids fall in frequency (the encoder numbers them so).
        group: "global" cuts one order over the features of all slots; equal counts go by slot, then by id.
        alone: slots whose ids do not fall in frequency, of which no range is of like frequency: each is a block.
    """
    names = [slot for slot, found in counts.items() if len(found) > FIRST and slot not in alone]
    features = [len(counts[slot]) - FIRST for slot in names]
    notes: list[str] = []
    found: list[Band] = []
    rows = 0
    for slot in alone:
        found.append(Band(slot, FIRST, len(counts[slot]), rows))
        rows += 1
        notes.append(
            f"'{slot}' is one block: it is hashed or a Plan maps its ids, which therefore do not fall in frequency"
        )
    if group == "global" and names:
        falling = np.concatenate([np.minimum.accumulate(counts[slot][FIRST:]) for slot in names])
        owner = np.repeat(np.arange(len(names)), features)
        owner = owner[np.argsort(-falling, kind="stable")]
        at, start = np.full(len(names), FIRST), 0
        sizes = sizes_of(blocks, len(owner), rest=rest)
        if not all(sizes):
            left = sum(map(bool, sizes))
            notes.append(f"there are {len(owner):,} features for {len(sizes)} blocks: {left} blocks are left")
        for size in sizes:
            here = np.bincount(owner[start : start + size], minlength=len(names))
            found += [Band(n, int(a), int(a + k), rows) for n, a, k in zip(names, at, here, strict=True) if k]
            at, start, rows = at + here, start + size, rows + bool(size)
        return found, notes
    for name, number in zip(names, features, strict=True):
        sizes = sizes_of(blocks, number, rest=rest, of=f"'{name}'")
        kept, at = [size for size in sizes if size], FIRST
        if len(kept) < len(sizes):
            notes.append(f"'{name}' has {number:,} features for {len(sizes)} blocks: {len(kept)} blocks are left")
        for size in kept:
            found.append(Band(name, at, at + size, rows))
            at, rows = at + size, rows + 1
    return found, notes
