"""How much several Plans agree on the features to keep, as of searches that differ in their seed."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import UsageError
from clicksmith.plan.parts import FIRST, KeptFeatures, KeptFields
from clicksmith.plan.plan import Plan

Kept = dict[str, NDArray[np.bool_]]


def overlap(plans: Sequence[Plan], names: Sequence[str] = ()) -> tuple[float, dict[str, float]]:
    """Return the Jaccard overlap of the kept features, of all together and by vocabulary: a mean over pairs of Plans.

    Of two sets it is the size of what both hold by the size of what at least one holds; of two empty ones it is 1. A
    vocabulary that a Plan does not speak of is kept whole, one whose field it drops is not kept at all. `names` of the
    Plans, as their files, are for errors.

    Raises UsageError: the Plans do not speak of the same numbering of a vocabulary.
    """
    numberings: dict[str, tuple[str, str]] = {}
    names = names or [f"Plan {number}" for number in range(1, len(plans) + 1)]
    sizes: dict[str, int] = {}
    found = [_kept(plan, name, numberings, sizes) for plan, name in zip(plans, names, strict=True)]
    dropped = [{n for part in plan.parts if isinstance(part, KeptFields) for n in part.drop} for plan in plans]
    whole = [
        {s: kept.get(s, np.full(size, s not in gone)) for s, size in sizes.items()}
        for kept, gone in zip(found, dropped, strict=True)
    ]
    pairs = list(combinations(whole, 2))
    if not pairs:
        raise UsageError("an overlap is of two Plans or more.")
    slots = {slot: float(np.mean([_jaccard(one[slot], two[slot]) for one, two in pairs])) for slot in sizes}
    joined = [[np.concatenate([np.zeros(0, bool), *kept.values()]) for kept in pair] for pair in pairs]
    return float(np.mean([_jaccard(*pair) for pair in joined])), slots


def _kept(plan: Plan, name: str, numberings: dict[str, tuple[str, str]], sizes: dict[str, int]) -> Kept:
    """Return which features of each vocabulary a Plan keeps; note the numberings, of which Plan, and the sizes."""
    kept: Kept = {}
    for part in plan.parts:
        for slot, mask in part.slots.items() if isinstance(part, KeptFeatures) else ():
            numbering, first = numberings.setdefault(slot, (part.numbering[slot], name))
            if numbering != part.numbering[slot]:
                raise UsageError(
                    f"{name}: {part.name} was found on another numbering of '{slot}' than that of {first}, so their "
                    "features cannot be compared: give Plans of searches on the same rows, each without the Plans "
                    "before it."
                )
            own = mask.values[FIRST:].astype(np.bool_)
            kept[slot] = np.logical_and(kept[slot], own) if slot in kept else own
            sizes[slot] = len(own)
    return kept


def _jaccard(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    either = int((one | two).sum())
    return int((one & two).sum()) / either if either else 1.0
