"""OptInter as a search method: candidates for the operations of pairs, ranked by what retrained models score."""

import math
import time
from collections import Counter
from itertools import combinations

import msgspec
import numpy as np

from clicksmith.encode.crossed import Crossed
from clicksmith.encode.layout import Layout
from clicksmith.errors import CompositionError, UsageError
from clicksmith.fields.pairs import OPS, Pair
from clicksmith.files import write_bytes
from clicksmith.fitting.asked import new_model
from clicksmith.models.planned import spec_under
from clicksmith.models.spec import shapes_of
from clicksmith.plan import Plan
from clicksmith.plan.apply import Applied
from clicksmith.plan.crossing import with_crosses
from clicksmith.plan.parts import AnyPart, PairOp, Pairs
from clicksmith.search.method import Asked, Controls, Method, changed
from clicksmith.search.optinter.gains import Gain, gains
from clicksmith.search.optinter.options import OptInter
from clicksmith.search.optinter.relaxed import searched
from clicksmith.train.monitor import score_of
from clicksmith.train.trainer import train

EVERY = 20.0
"""Seconds between two lines on how many pairs are counted."""
SURE = 3.0
"""Standard errors of a gain by counts that make it count."""
Ops = dict[Pair, str]


def run(asked: Asked, options: OptInter) -> tuple[AnyPart, ...]:
    """Search; retrain the candidates shortly if there are several, and return the best.

    Paper: optinter, learning algorithm.

    Raises UsageError: fewer than two id fields, too few rows for the budget. CompositionError: the backbone reads no
    vectors, and the mode needs them. DivergedError: a weight is not finite.
    """
    pairs = pairs_of(asked.layout)
    if not multiplies(asked) and (options.mode not in ("counts", "random") or (options.drawn or (0, 0))[1]):
        raise CompositionError(
            "this backbone reads no field vectors, so there is nothing to factorise, and no search by gradients; give "
            "--search.mode counts, which memorises the pairs that are worth it."
        )
    found: tuple[Gain, ...] = ()
    if options.mode == "counts" or (
        options.mode != "random" and (len(pairs) > options.pairs or options.candidates > 1)
    ):
        found = counted(asked, pairs)
    if len(pairs) > options.pairs and options.mode not in ("counts", "random"):
        best = sorted(found, key=lambda g: g.best, reverse=True)[: options.pairs]
        kept = {g.pair for g in best}
        asked.progress.said(f"{len(pairs)} pairs: the {options.pairs} with the largest gain by counts are searched")
        pairs = tuple(pair for pair in pairs if pair in kept)
    named = candidates(asked, options, pairs, found)
    scores: dict[str, float] = {}
    for name, ops in named.items() if len(named) > 1 else ():
        scores[name] = scored(asked, options, name, ops)
        asked.progress.said(f"candidate {name}: {told(ops)}; validation {asked.settings.monitor} {scores[name]:.5f}")
    clicks = np.count_nonzero(asked.valid.targets["labels"], 0)
    margin = options.margin / math.sqrt(max(1, min(clicks.min(), asked.valid.rows - clicks.max())))
    worth = {name: score + margin * (name == "counts") for name, score in scores.items()}
    chosen = max(worth, key=worth.__getitem__) if worth else next(iter(named))
    ahead = f"; counts stays unless another is better by {margin:.5f}" if "counts" in worth else ""
    asked.progress.said(f"{chosen}: {told(named[chosen])}{ahead}")
    return (part_of(asked, options, named[chosen], **scores),)


def counted(asked: Asked, pairs: tuple[Pair, ...]) -> tuple[Gain, ...]:
    """Return the gains by counts, those of an interrupted search if it got so far; tell how far it is."""
    kept, said = asked.folder / "gains" / "checkpoint.json", time.monotonic()

    def told(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            asked.progress.said(f"{done} of {len(pairs)} pairs are counted")

    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=tuple[Gain, ...])
    found = gains(asked.train, pairs, group=asked.group, counted=told)
    write_bytes(kept, msgspec.json.encode(found))
    return found


def pairs_of(layout: Layout) -> tuple[Pair, ...]:
    """Return all pairs of id fields. Raises UsageError: there are fewer than two."""
    names = [c.name for c in layout.ids]
    if len(names) < 2:
        raise UsageError(
            f"optinter chooses what to do with pairs of id fields, and the data has {len(names)}; numbers become ids "
            "with scale='quantile'."
        )
    return tuple(combinations(names, 2))


def candidates(asked: Asked, options: OptInter, pairs: tuple[Pair, ...], found: tuple[Gain, ...]) -> dict[str, Ops]:
    """Return the Plans to choose from, by name; equal ones once."""
    named: dict[str, Ops] = {}
    if options.mode == "counts":
        return {"counts": by_counts(found, factorise=multiplies(asked))}
    if options.mode == "random":
        return {"random": by_chance(options, pairs, asked.seed, OPS if multiplies(asked) else ("memorise", "naive"))}
    for i in range(max(1, options.candidates - 1)):
        named[f"{options.mode}_{asked.seed + i}"] = searched(asked, options, pairs, asked.seed + i)
    if options.candidates > 1:
        named["counts"] = by_counts(found)
    distinct: dict[str, Ops] = {}
    for name, ops in named.items():
        if not any(useful(ops) == useful(other) for other in distinct.values()):
            distinct[name] = ops
    return distinct


def multiplies(asked: Asked) -> bool:
    """Return whether the backbone reads vectors, and so can have factorised pairs."""
    return "vectors" in shapes_of(asked.spec, asked.layout).reads


def by_chance(options: OptInter, pairs: tuple[Pair, ...], seed: int, ops_of: tuple[str, ...] = OPS) -> Ops:
    """Return the operations of the control. Raises UsageError: there are fewer pairs than are to have one."""
    random = np.random.default_rng(seed)
    if options.drawn is None:
        return {pair: ops_of[int(random.integers(len(ops_of)))] for pair in pairs}
    memorised, factorised = options.drawn
    if memorised + factorised > len(pairs):
        raise UsageError(f"drawn is {options.drawn}, and there are {len(pairs)} pairs; draw no more.")
    ops = ["memorise"] * memorised + ["factorise"] * factorised
    ops += ["naive"] * (len(pairs) - len(ops))
    return {pairs[int(i)]: op for i, op in zip(random.permutation(len(pairs)), ops, strict=True)}


def by_counts(found: tuple[Gain, ...], *, factorise: bool = True) -> Ops:
    """Return for each pair the operation of the larger gain, naive where none is sure; or memorise and naive alone."""
    ops: Ops = {}
    for gain in found:
        op = "memorise" if gain.memorise >= gain.factorise or not factorise else "factorise"
        worth, z = (gain.memorise, gain.memorise_z) if op == "memorise" else (gain.factorise, gain.factorise_z)
        ops[gain.pair] = op if z > SURE and worth > 0 else "naive"
    return ops


def useful(ops: Ops) -> Ops:
    """Return the pairs that are not naive."""
    return {pair: op for pair, op in ops.items() if op != "naive"}


def told(ops: Ops) -> str:
    """Return how many pairs have which operation."""
    return ", ".join(f"{sum(o == op for o in ops.values())} {op}" for op in OPS)


def part_of(asked: Asked, options: OptInter, ops: Ops, **scores: float) -> Pairs:
    """Return what is found as a part of a Plan; the crosses of the retrained model are exact."""
    return Pairs(
        pairs=tuple(
            PairOp(
                fields=pair, op="memorise" if op == "memorise" else "factorise", dim=options.dim,
                min_count=options.min_count, std=options.std,
            )
            for pair, op in ops.items() if op != "naive"
        ),
        found_by=asked.found_by("optinter", options, **scores),
    )  # fmt: skip


def scored(asked: Asked, options: OptInter, name: str, ops: Ops) -> float:
    """Return the validation score of a model trained under a candidate, on the rows that train weights."""
    applied = Applied(asked.encoder, pairs=(part_of(asked, options, ops),))
    applied = with_crosses(applied, asked.train)
    rows, judged = (Crossed(store, applied.encoder.crosses) for store in (asked.train, asked.valid))
    spec = spec_under(applied, asked.spec)
    settings = msgspec.structs.replace(
        asked.settings, epochs=min(options.rank_epochs, asked.settings.epochs), patience=1
    )
    result = train(
        new_model(spec, rows.layout, asked.seed), rows, judged, settings, run_dir=asked.folder / f"candidate_{name}",
        progress=asked.progress,
    )  # fmt: skip
    return score_of(result.metrics, settings.monitor)


def held_out(options: OptInter) -> float:
    """Return the share of the training rows that move the architecture weights."""
    return options.held_out if options.mode == "bilevel" else 0.0


def controls(options: OptInter, found: Plan) -> Controls:
    """Return as many pairs of either operation, drawn by chance."""
    ops = Counter(pair.op for part in found.parts if isinstance(part, Pairs) for pair in part.pairs)
    if options.mode == "random" or not ops:
        return {}
    given = {name: value for name, value in changed(options).items() if name in ("dim", "std", "min_count")}
    drawn = (ops["memorise"], ops["factorise"])
    return {"pairs": ("optinter", given | {"mode": "random", "candidates": 1, "drawn": drawn})}


METHOD = Method(
    "optinter",
    "what to do with each pair of fields: memorise, factorise or nothing",
    OptInter,
    run,
    controls=controls,
    knob_share=held_out,
)
