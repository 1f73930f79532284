"""Plans that cost nothing to find, of the same size as one that was searched: what a search has to beat."""

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.encoder import Encoder
from clicksmith.errors import UsageError
from clicksmith.plan.apply import numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.parts import FIRST, Block, Columns, FoundBy, KeptFeatures


def frequency_cut(encoder: Encoder, keep: int) -> KeptFeatures:
    """Return the Plan's part that keeps the `keep` features of highest training frequency, over all vocabularies."""
    counts = _counts(encoder)
    order = np.argsort(-np.concatenate(list(counts.values())), kind="stable")
    return _kept(encoder, order[: _checked(keep, len(order))], FoundBy(method="frequency cut"))


def random_ids(encoder: Encoder, keep: int, seed: int) -> KeptFeatures:
    """Return the Plan's part that keeps `keep` features drawn at random, over all vocabularies."""
    total = sum(len(own) for own in _counts(encoder).values())
    order = np.random.default_rng(seed).permutation(total)
    return _kept(encoder, order[: _checked(keep, total)], FoundBy(method="random ids", seed=seed))


def uniform_width(encoder: Encoder, dim: int, parameters: int) -> Columns:
    """Return the Plan's part that cuts every vector to one width, the largest with at most so many parameters.

    Vectors of unseen values stay whole, as under any Plan; `parameters` are those of the main table.
    """
    rows = {slot: count for slot, count in encoder.layout.rows.items() if count > FIRST}
    for width in range(dim, 0, -1):
        size = sum(count * dim if width == dim else (count - 1) * width + FIRST * dim for count in rows.values())
        if size <= parameters:
            at = numbering(encoder)
            slots = {slot: (Block(FIRST, count, tuple(range(width))),) for slot, count in rows.items()}
            own = {slot: at[slot] for slot in rows}
            return Columns(dim=dim, slots=slots, numbering=own, found_by=FoundBy(method="uniform width"))
    raise UsageError(f"no width from 1 to {dim} brings the main table to {parameters:,} parameters; allow more.")


def _counts(encoder: Encoder) -> dict[str, NDArray[np.int64]]:
    """Return slot -> training frequency of each id from `FIRST` on."""
    counts: dict[str, NDArray[np.int64]] = {}
    for slot, vocabulary in encoder.fitted.vocabularies.items():
        rows = encoder.layout.rows[slot]
        ids = vocabulary.ids[1:-1]
        own = np.bincount(np.maximum(ids, 0), weights=vocabulary.counts, minlength=rows)
        counts[slot] = own[FIRST:rows].astype(np.int64)
    return counts


def _kept(encoder: Encoder, chosen: NDArray[np.int64], by: FoundBy) -> KeptFeatures:
    at, slots, start = numbering(encoder), dict[str, Array](), 0
    for slot, own in _counts(encoder).items():
        mask = np.zeros(FIRST + len(own), np.bool_)
        mask[:FIRST] = True
        mask[FIRST + chosen[(chosen >= start) & (chosen < start + len(own))] - start] = True
        slots[slot] = Array(mask)
        start += len(own)
    return KeptFeatures(slots=slots, numbering={slot: at[slot] for slot in slots}, found_by=by)


def _checked(keep: int, total: int) -> int:
    if not 1 <= keep <= total:
        raise UsageError(f"keep is {keep}; it must be from 1 to the {total:,} features there are.")
    return keep
