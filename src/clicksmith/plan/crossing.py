"""The crosses of a Plan: its memorised pairs as columns of the encoder, fitted on the encoded training rows."""

from dataclasses import replace

import msgspec

from clicksmith.encode.crosses import CrossOf, ordered
from clicksmith.encode.store import Store
from clicksmith.plan.apply import Applied
from clicksmith.plan.parts import PairOp


def pair_ops(applied: Applied) -> tuple[PairOp, ...]:
    """Return the pairs of all parts; one that two parts ask for alike, in whatever order of its fields, once."""
    found: dict[PairOp, PairOp] = {}
    for pair in (pair for part in applied.pairs for pair in part.pairs):
        found.setdefault(msgspec.structs.replace(pair, fields=tuple(sorted(pair.fields))), pair)
    return tuple(found.values())


def memorised(applied: Applied) -> tuple[CrossOf, ...]:
    """Return the crosses that the Plan asks for.

    Raises UsageError naming the pair: a field is unknown or no id field, also of factorised pairs.
    """
    every = [
        CrossOf(fields=p.fields, index=p.index, min_count=p.min_count, buckets=p.buckets, seed=p.seed)
        for p in pair_ops(applied)
    ]
    found = ordered(applied.encoder.fitted.layout, every)
    return tuple(cross for cross, pair in zip(found, pair_ops(applied), strict=True) if pair.op == "memorise")


def with_crosses(applied: Applied, train: Store) -> Applied:
    """Return what was applied with the crosses fitted on `train`, the training rows of its encoder.

    A pair without a value that training met often enough is left out: it would have nothing to memorise.
    """
    wanted = memorised(applied)
    if not wanted:
        return applied
    fitted = applied.encoder.with_crosses(wanted, train)
    return replace(applied, encoder=replace(fitted, crosses=tuple(c for c in fitted.crosses if len(c.counts))))


def notes(applied: Applied) -> tuple[str, ...]:
    """Return what to say of how a Plan was applied, and of its crosses."""
    said = list(applied.notes)
    there = {cross.of.fields for cross in applied.encoder.crosses}
    for cross in memorised(applied):
        told = " x ".join(cross.fields)
        if cross.fields not in there:
            said.append(f"no pair of values of {told} occurs {cross.min_count} times in training: it is naive now")
        elif cross.min_count == 1 and cross.index == "exact":
            said.append(
                f"{told} has min_count 1: no training row has an unseen pair, so the vector of unseen pairs learns "
                "only from ids that training forgets (unseen_rate); 2 or more is safer"
            )
    return tuple(said)
