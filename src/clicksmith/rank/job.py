"""`rank`: raw rows to a ranking of their fields, with exact counts and no model. Paper: outrank."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clicksmith.batch.store import cached_fit_encode, warn
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.fitting import Progress
from clicksmith.encode.recipe import slot_of
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.names import lookup
from clicksmith.rank.asked import Asked, asked
from clicksmith.rank.controls import controls
from clicksmith.rank.counts import Counts, count
from clicksmith.rank.methods import METHODS, WEIGHTED, Evidence
from clicksmith.rank.mutual import entropy
from clicksmith.rank.pairs import PairScore, pair_scores, relevant_and_new
from clicksmith.rank.quality import Vocabularies, copies, drift, quality, unseen_shares
from clicksmith.rank.ranking import FieldScore, Ranking
from clicksmith.rank.scored import NullOf, Seen, chosen_from, exact_nulls, false_discovery, seen, shuffled_nulls
from clicksmith.rank.views import View, views_of
from clicksmith.schema.schema import Schema

BLOCK, BLOCKS = 1 << 12, 16
"""Rows that are looked at for order."""
FEW = 1_000
"""Rows below which the order says little; z is honest for any number."""
DRIFTING = 20
"""The best fields that are followed over time."""


def rank(
    train: Any,
    *,
    label: str | None = None,
    schema: Schema | str | Path | None = None,
    root: str | Path | None = None,
    valid: Any = None,
    score: str = "adjusted_mi",
    pairs: int = 0,
    rotations: int = 1,
    holdout: float = 0.2,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    noted: Callable[[str], None] = warn,
) -> Ranking:
    """Rank the fields of raw rows by what they say of the label. Paper: outrank.

    Args:
        train: path, pattern, list of paths, or a polars, pandas or Arrow table. Training rows only: a ranking that has
            seen test rows spoils the test.
        label: the column to predict; the schema's if there is one.
        schema: what the columns mean; without it every column is ranked, read as what it may be.
        root: the folder that side tables of the schema are relative to; that of the schema's file if not given.
        valid: later rows, of which only the share of unseen values is taken.
        score: a name of `METHODS`.
        pairs: how many of the best fields are also looked at two by two: relation, redundancy, and their order by both.
        rotations: controls of score "outrank". holdout: share of the last rows for score "holdout".
        cache: a folder in which encoded rows are kept for further rankings of the same rows.
        progress: told how many rows are read. noted: told whom this waits for, if another process writes the cache.

    Raises:
        DataError, SchemaError, UsageError, UnknownNameError: as their names say.
    """
    _check(score, pairs, rotations, holdout, seed)
    wanted = asked(train, label, schema, root)
    with tempfile.TemporaryDirectory(prefix="clicksmith-rank-") as folder:
        reading = _Reading(Path(folder), None if cache is None else Path(cache), valid, progress, noted)
        try:
            encoder, store, later = reading.encoded(wanted, "numbers")
        except DataError:
            names = wanted.as_names()
            if names is None:
                raise
            wanted = names
            encoder, store, later = reading.encoded(wanted, "names")
        try:
            found = rank_store(
                store,
                encoder,
                label=wanted.label,
                whole=wanted.whole,
                valid=later,
                score=score,
                pairs=pairs,
                rotations=rotations,
                holdout=holdout,
                seed=seed,
            )
        except DataError as error:
            raise DataError(f"{wanted.source.name}: {error}") from error
    fields = tuple(_outside(f, wanted.outside) for f in found.fields)
    empty = next((f.field for f in fields if f.coverage <= 0), None)
    if wanted.given is not None and empty is not None:
        raise DataError(_why_empty(empty, encoder, f"{found.rows:,} rows of {wanted.source.name}"))
    notes = (*wanted.notes, *found.notes)
    return replace(found, fields=fields, notes=notes, given=wanted.given, source=wanted.source)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Where rows are encoded to, and who is told."""

    folder: Path
    cache: Path | None
    valid: Any
    progress: Progress | None
    noted: Callable[[str], None]

    def encoded(self, wanted: Asked, name: str) -> tuple[Encoder, Store, Store | None]:
        """Return the encoder, the training rows, and the validation rows if there are such."""
        home, schema, source, root = self.folder / name, wanted.schema, wanted.source, wanted.root
        if self.cache is None:
            encoder, store = Encoder.fit_encode(schema, source, home / "rows", root=root, progress=self.progress)
        else:
            cached = cached_fit_encode(schema, source, self.cache, root=root, progress=self.progress, noted=self.noted)
            encoder, store = cached.encoder, cached.store
        if self.valid is None:
            return encoder, store, None
        return encoder, store, encoder.encode_to(self.valid, home / "valid", labels=False, progress=self.progress)


def _why_empty(field: str, encoder: Encoder, rows: str) -> str:
    vocabulary = encoder.fitted.vocabularies.get(slot_of(encoder.schema, field))
    if vocabulary is not None and len(vocabulary.rare_counts):
        return (
            f"every value of field '{field}' is rarer than its min_count {vocabulary.keep.min_count} in the {rows}; "
            "lower it, or leave the field out of the schema."
        )
    return f"field '{field}' is empty in all {rows}; leave it out of the schema, or check the column."


def rank_store(
    store: Store,
    encoder: Encoder | None = None,
    *,
    label: str | None = None,
    whole: Collection[str] = (),
    valid: Store | None = None,
    counts: Counts | None = None,
    score: str = "adjusted_mi",
    pairs: int = 0,
    rotations: int = 1,
    holdout: float = 0.2,
    seed: int = 0,
) -> Ranking:
    """Rank the fields of encoded rows; see `rank`. The encoder gives values their names, and the plan its schema.

    Args:
        whole: fields whose values are whole numbers, to be read as names and in bins. valid: rows of the same encoder.
        counts: those of `count(store, views_of(store, encoder, whole))`, or their sum over parts of this store's rows,
            by which the bins of numbers are cut.
    """
    labels = store.layout.labels
    if label is not None and label not in labels:
        raise UsageError(f"the rows have no label '{label}'; they have {', '.join(labels)}.")
    at = 0 if label is None else labels.index(label)
    _check(score, pairs, rotations, holdout, seed)
    _check_weights(store, score)
    views = views_of(store, encoder, whole)
    if not views:
        raise UsageError("the rows have no field that could be ranked; vectors alone have no values to count.")
    known = controls(store.rows, at, seed)
    if counts is None:
        counts = count(store, [*views, *known], label=at)
    else:
        _check_counts(counts, store, views)
        counts = replace(counts, by=counts.by | count(store, known, label=at).by)
    if counts.clicks in (0, counts.total):
        only = 1 if counts.clicks else 0
        raise DataError(
            f"the label '{labels[at]}' is {only} in all {counts.rows:,} rows; there is nothing to say of it."
        )
    null_of = _nulls(store, [*views, *known], counts, at, seed)
    told, told_controls = seen(counts, views, null_of), seen(counts, known, null_of)
    evidence = Evidence(store, counts, views, told, at, seed, rotations, holdout)
    scores = METHODS[score](evidence)
    control_scores = METHODS[score](replace(evidence, views=known, seen=told_controls))
    texts, label_entropy = Vocabularies(store, encoder), entropy([counts.clicks, counts.total - counts.clicks])
    same = copies(store, told, seed)
    unseen = {} if valid is None else unseen_shares(valid, views, counts)

    def listed(seen_: Mapping[str, list[Seen]], scored: Mapping[str, float]) -> tuple[FieldScore, ...]:
        q = false_discovery({name: _z(several) for name, several in seen_.items()})
        made = [
            _field(several, scored[n], q[n], counts, texts, same.get(n), label_entropy) for n, several in seen_.items()
        ]
        return tuple(sorted(made, key=lambda f: (-f.score, -f.z)))

    fields = tuple(msgspec.structs.replace(f, unseen=unseen.get(f.field)) for f in listed(told, scores))
    best = [f.field for f in fields]
    two = _pairs(store, evidence, best[:pairs], at, seed)
    relevance = {name: told[name][0].information for name in best[:pairs]}
    first = [told[name][0].view for name in best[:DRIFTING]]
    return Ranking(
        method=score,
        label=labels[at],
        rows=counts.rows,
        rate=counts.clicks / counts.total,
        entropy=label_entropy,
        fields=fields,
        controls=listed(told_controls, control_scores),
        pairs=two,
        order=relevant_and_new(relevance, two) if two else (),
        drift=drift(store, first, at),
        notes=_notes(store, counts, score, at, pairs),
        seed=seed,
        given=None if encoder is None else encoder.schema,
    )


def _check(score: str, pairs: int, rotations: int, holdout: float, seed: int) -> None:
    lookup(METHODS, score, "score")
    for name, given, default, of in (("rotations", rotations, 1, "outrank"), ("holdout", holdout, 0.2, "holdout")):
        if given != default and score != of:
            raise UsageError(
                f"{name} is of score '{of}', and the score is '{score}'; leave {name} out, or score by '{of}'."
            )
    if rotations < 1:
        raise UsageError(f"rotations is {rotations}; the rule needs at least one control.")
    if not 0 < holdout < 1:
        raise UsageError(f"holdout is {holdout:g}; it is the share of the last rows, between 0 and 1.")
    if pairs < 0 or pairs == 1:
        raise UsageError(
            f"pairs is {pairs}; it is how many of the best fields are looked at two by two: 2 or more, or 0 for none."
        )
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be at least 0.")


def _check_weights(store: Store, score: str) -> None:
    if "weight" in store.targets and score not in WEIGHTED:
        raise UsageError(
            f"score '{score}' knows no weights, and the rows have them; use {', '.join(WEIGHTED)}, or leave the weight "
            "out of the schema."
        )


def _nulls(store: Store, views: Sequence[View], counts: Counts, label: int, seed: int) -> NullOf:
    weighted = "weight" in store.targets
    return shuffled_nulls(store, views, counts, label, seed) if weighted else exact_nulls(counts)


def _z(several: Sequence[Seen]) -> float:
    return chosen_from(several[0].z, len(several))


def _field(
    several: Sequence[Seen],
    score: float,
    q: float,
    counts: Counts,
    texts: Vocabularies,
    copy_of: str | None,
    label_entropy: float,
) -> FieldScore:
    first = several[0]
    told = quality(several, counts, texts, copy_of, label_entropy)
    return FieldScore(
        field=first.view.field,
        score=score,
        information=first.information,
        spread=math.sqrt(first.null.variance),
        z=_z(several),
        q=q,
        mutual_information=first.plain,
        view=first.view.kind,
        views={s.view.kind: s.information for s in several},
        values=told.values,
        coverage=told.coverage,
        singletons=told.singletons,
        top=told.top,
        best=None if first.value is None else texts.text(first.view.field, first.value),
        flags=told.flags,
    )


def _outside(found: FieldScore, outside: Mapping[str, str]) -> FieldScore:
    if found.field not in outside:
        return found
    flags = (*found.flags, f"the schema leaves it out: {outside[found.field]}")
    return msgspec.structs.replace(found, in_schema=False, flags=flags)


def _pairs(store: Store, evidence: Evidence, best: Sequence[str], label: int, seed: int) -> tuple[PairScore, ...]:
    if len(best) < 2:
        return ()
    single = {view.field: view for view in evidence.single}
    surest = {name: evidence.seen[name][0].view for name in best}
    views = [surest[name] if surest[name].kind != "one value" else single[name] for name in best]
    return pair_scores(store, views, label, seed)


def _notes(store: Store, counts: Counts, score: str, label: int, pairs: int) -> tuple[str, ...]:
    notes: list[str] = []
    if counts.rows < FEW:
        notes.append(f"{counts.rows:,} rows are few: trust z, not the order.")
    if pairs and "weight" in store.targets:
        notes.append("pairs of fields are judged by rows, each as one: their weights count for single fields only.")
    if score == "outrank" and _in_order(store, label):
        notes.append(
            "labels of neighbouring rows agree more than chance allows; the rotation rule needs shuffled rows."
        )
    return tuple(notes)


def _check_counts(counts: Counts, store: Store, views: Sequence[View]) -> None:
    if counts.rows != store.rows:
        raise DataError(
            f"the counts are of {counts.rows:,} rows, the store has {store.rows:,}; add those of its parts."
        )
    for view in views:
        if view.key not in counts.by or len(counts.by[view.key][0]) != view.size:
            raise DataError(
                f"the counts lack field '{view.field}' as the store has it; count it with `views_of(store)`."
            )


def _in_order(store: Store, label: int) -> bool:
    """Whether labels depend on those of the rows before them, in blocks of rows from the first to the last."""
    starts = np.unique(
        np.linspace(0, max(0, store.rows - BLOCK), min(BLOCKS, max(1, store.rows // BLOCK))).astype(np.int64)
    )
    blocks = [store.targets["labels"][start : start + BLOCK, label].astype(np.float64) for start in starts]
    mean, variance = np.concatenate(blocks).mean(), np.concatenate(blocks).var()
    beside = sum(float(((block[1:] - mean) * (block[:-1] - mean)).sum()) for block in blocks)
    return beside > 4 * variance * (len(blocks) * len(blocks[0])) ** 0.5
