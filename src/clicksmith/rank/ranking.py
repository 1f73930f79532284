"""What a ranking found, and the plan that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from clicksmith.encode.source import Source
from clicksmith.errors import UsageError
from clicksmith.files import write_bytes
from clicksmith.fitting.propose import propose
from clicksmith.names import unknown
from clicksmith.plan.apply import users_of_fields
from clicksmith.plan.parts import FoundBy, KeptFields
from clicksmith.plan.plan import Plan
from clicksmith.rank.pairs import PairScore
from clicksmith.rank.scored import chosen_from
from clicksmith.rank.views import Kind
from clicksmith.schema.schema import Schema

SURE = 3.0
"""Deviations of synergy above which a pair is a candidate."""
FDR = 0.05
"""Share of noise that a plan keeps at most, if it is not told what to keep."""


class FieldScore(msgspec.Struct, frozen=True, kw_only=True):
    """One field. Information is in nats.

    score: of the method that was asked for; larger is better
    information: mutual information beyond chance; its spread is the standard deviation of chance
    z: how surely that is not chance (noise of any cardinality is above 3 once in 740); q: the share of noise among the
        fields that are at least as sure
    view: how the field was read, the surest way; views: information of every way that was tried
    """

    field: str
    score: float
    information: float
    spread: float
    z: float
    q: float
    mutual_information: float
    view: Kind
    views: dict[str, float]
    values: int
    """Distinct values (about, where they nearly never repeat); of a field that is read in bins alone, the bins."""
    coverage: float
    """Share of rows in which it is not empty."""
    unseen: float | None = None
    """Share of the validation rows whose value training did not see; at least so many, where values are hashed.

    Empty cells are among them where the schema takes these as unseen: encoded rows do not tell the two apart.
    """
    singletons: float | None = None
    """Share of its values that one row has; None where bins alone, or weights, are counted."""
    top: tuple[tuple[str, float], ...] = ()
    """The most frequent values with their share of the rows."""
    best: str | None = None
    """The value whose presence says most, where the view is "one value"."""
    flags: tuple[str, ...] = ()
    """What is odd about it, in words."""
    in_schema: bool = True
    """False for a column that the schema leaves out; a plan has nothing to drop there."""


class Drift(msgspec.Struct, frozen=True):
    """The label, and what the best fields say of it, by period of time.

    Shape:
        information: field -> [periods]
    """

    periods: tuple[str, ...]
    rows: tuple[int, ...]
    rate: tuple[float, ...]
    information: dict[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Fields, best first, and what else one pass over the rows told.

    controls: the eleven columns whose answer is known, scored in the same way
    pairs: the strongest relation first; order: the best fields by 3MR. Both are empty unless pairs were asked for.
    """

    method: str
    label: str
    rows: int
    rate: float
    """Share of clicks."""
    entropy: float
    """Of the label, in nats: no field can say more."""
    fields: tuple[FieldScore, ...]
    controls: tuple[FieldScore, ...] = ()
    pairs: tuple[PairScore, ...] = ()
    order: tuple[str, ...] = ()
    drift: Drift | None = None
    notes: tuple[str, ...] = ()
    seed: int = 0
    given: Schema | None = None
    source: Source | None = None
    """The training rows, and their schema if one was given."""

    @cached_property
    def schema(self) -> Schema:
        """The schema that `fit` uses on the same rows; a plan is for it."""
        if self.given is not None:
            return self.given
        if self.source is None:
            raise UsageError("this ranking knows no schema, which a plan is for; rank with schema=...")
        return propose(self.source, self.label).schema

    def __getitem__(self, name: str) -> FieldScore:
        """Return a field by name."""
        for found in self.fields:
            if found.field == name:
                return found
        raise UsageError(unknown(name, [f.field for f in self.fields], "ranked field"))

    def candidates(self, most: int = 20) -> tuple[tuple[str, str], ...]:
        """Return the pairs that say more together than the sum of both, the most first.

        They are those to memorise as combined features, or to try first where a search has too many pairs.
        """
        found = sorted((p for p in self.pairs if p.synergy > 0 and p.z > SURE), key=lambda pair: -pair.synergy)
        return tuple(pair.fields for pair in found[:most])

    def save(self, path: str | Path) -> None:
        """Write the fields as JSON: a list, best first, each with `field` and `score` at least."""
        write_bytes(Path(path), msgspec.json.format(msgspec.json.encode(self.fields), indent=1) + b"\n")

    def save_pairs(self, path: str | Path) -> None:
        """Write the pairs as JSON: a list, the strongest relation first."""
        write_bytes(Path(path), msgspec.json.format(msgspec.json.encode(self.pairs), indent=1) + b"\n")

    @property
    def _sure(self) -> tuple[tuple[str, str], ...]:
        """The pairs whose synergy is not chance, however many were looked at."""
        found = (p for p in self.pairs if p.synergy > 0 and chosen_from(p.z, len(self.pairs)) > SURE)
        return tuple(pair.fields for pair in found)

    @property
    def _after(self) -> tuple[str, ...]:
        """The fields that 3MR did not order, best first."""
        return tuple(f.field for f in self.fields if f.field not in self.order)

    def kept(
        self,
        *,
        top: int | None = None,
        min_z: float | None = None,
        cumulative: float | None = None,
        fdr: float | None = None,
    ) -> tuple[str, ...]:
        """Return the fields of the schema that a plan keeps, best first: see `plan`."""
        rule, value = checked_rule(top=top, min_z=min_z, cumulative=cumulative, fdr=fdr)
        fields = [f for f in self.fields if f.field in self.schema.field_names]
        if rule == "top":
            if value > len(fields):
                raise UsageError(
                    f"top is {value}; {len(fields)} fields of the schema were ranked, keep between 1 and {len(fields)}."
                )
            kept = [name for name in (*self.order, *self._after) if name in self.schema.field_names][: int(value)]
        elif rule == "min_z":
            kept = [f.field for f in fields if f.z >= value]
        elif rule == "fdr":
            kept = [f.field for f in fields if f.q <= value and f.information > 0]
        else:
            kept = _cumulative(fields, value)
        if rule != "top":
            together = {name for pair in self._sure for name in pair} - set(kept)
            kept += [f.field for f in fields if f.field in together]
        if not kept:
            best = max(fields, key=lambda f: f.z)
            raise UsageError(
                f"{rule}={value:g} would drop every field: the surest is '{best.field}' with z {best.z:.2f}, "
                f"q {best.q:.2g}. Ask for less, or name how many to keep with top."
            )
        return tuple(kept)

    def plan(
        self,
        *,
        top: int | None = None,
        min_z: float | None = None,
        cumulative: float | None = None,
        fdr: float | None = None,
    ) -> Plan:
        """Return the plan that drops all other fields.

        Args:
            top: keep so many, the best: in the order of 3MR where pairs were looked at, so that a field is not kept for
                what another one says already.
            min_z: keep those with this deviate or more.
            cumulative: keep the first that hold this share of the information of all (0.99).
            fdr: keep as many as have this share of noise at most; this is the rule, at 0.05, if nothing is given.

        Where pairs were looked at, the fields of a pair that surely says more than both stay under the last three
        rules, whatever they say alone.

        Behaviour sequences, and the fields that they aim at, that lend their vocabulary, that join a side table, or
        that group, divide, weigh or date the rows, are kept whatever their rank.

        Raises UsageError: nothing or everything would be kept by an impossible number, or two rules are given.
        """
        rule = {k: v for k, v in dict(top=top, min_z=min_z, cumulative=cumulative, fdr=fdr).items() if v is not None}
        needed = {use.field for use in users_of_fields(self.schema)}
        kept = set(self.kept(top=top, min_z=min_z, cumulative=cumulative, fdr=fdr)) | needed
        places = {f.field: place for place, f in enumerate(self.fields, 1)}
        drop: dict[str, str] = {}
        for name in self.schema.field_names:
            if name in places and name not in kept:
                found = self[name]
                drop[name] = f"rank {places[name]} of {len(places)}: score {found.score:.6f}, z {found.z:.2f}"
        scores = {f.field: f.score for f in self.fields if f.field in kept or f.field in drop}
        data = {} if self.source is None else {"train": self.source.fingerprint()}
        found_by = FoundBy(
            method=f"rank, score {self.method}",
            seed=self.seed,
            settings={"score": self.method, **rule},
            data=data,
            scores=scores,
        )
        return Plan(parts=(KeptFields(drop=drop, found_by=found_by),))


def checked_rule(
    *, top: int | None = None, min_z: float | None = None, cumulative: float | None = None, fdr: float | None = None
) -> tuple[str, float]:
    """Return the rule of a plan and its number; `Ranking.plan` says what they mean.

    Raises UsageError: two rules, or a number that no ranking can meet.
    """
    given = {k: v for k, v in dict(top=top, min_z=min_z, cumulative=cumulative, fdr=fdr).items() if v is not None}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} say twice what to keep; give one of them.")
    if top is not None and top < 1:
        raise UsageError(f"top is {top}; a plan keeps at least 1 field.")
    if cumulative is not None and not 0 < cumulative <= 1:
        raise UsageError(f"cumulative is {cumulative:g}; it is a share of the information, above 0 and at most 1.")
    return next(iter(given.items()), ("fdr", FDR))


def _cumulative(fields: list[FieldScore], share: float) -> list[str]:
    whole, have, kept = sum(max(0.0, f.information) for f in fields), 0.0, list[str]()
    for found in fields:
        if have >= share * whole:
            break
        have += max(0.0, found.information)
        kept.append(found.field)
    return kept
