"""What a Plan says, part by part. A part names ids by the numbering it was found on; see `clicksmith.plan.apply`."""

import math
from typing import Any, Literal

import msgspec
import numpy as np

from clicksmith.encode.layout import PADDING, UNSEEN
from clicksmith.errors import UsageError
from clicksmith.plan.arrays import Array

FIRST = 2
"""Ids below (padding and unseen) are of no block, are always kept, and map to themselves."""


class FoundBy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which search found a part, on what."""

    method: str
    seed: int = 0
    backbone: str = ""
    settings: dict[str, Any] = {}
    data: dict[str, str] = {}
    """Content checksums of the rows it read."""
    scores: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Check the scores: JSON has no NaN. Raises UsageError."""
        for name, score in self.scores.items():
            if not math.isfinite(score):
                raise UsageError(f"the score '{name}' of {self.method} is {score}; leave out what is not defined.")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every part."""

    numbering: dict[str, str] = {}
    """Slot to the digest of its numbering, for every slot whose ids the part speaks of."""
    found_by: FoundBy

    @property
    def slots_named(self) -> tuple[str, ...]:
        """The slots whose ids the part speaks of."""
        return ()

    def lines(self) -> list[str]:
        """Return what the part says, for people."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise UsageError: the part names a slot without saying its numbering."""
        for slot in self.slots_named:
            if slot not in self.numbering:
                raise UsageError(f"{self.name} speaks of the ids of '{slot}' and does not say their numbering.")

    @property
    def name(self) -> str:
        """Kind and origin, for messages."""
        return f"the Plan's part '{self.__struct_config__.tag}' (found by {self.found_by.method})"


class KeptFields(Part, frozen=True, tag="fields"):
    """Fields that are left out: the model, the encoder and raw rows at serving do without them."""

    drop: dict[str, str]
    """Field to the reason."""

    def lines(self) -> list[str]:
        """Say which fields go, and why."""
        return [f"field {name} dropped: {reason}" for name, reason in self.drop.items()]


class KeptFeatures(Part, frozen=True, tag="features"):
    """Features (values of a field) that have a row of their own; the others share one vector.

    dropped_to "zero": the vector is zero, as under a closed gate. "unseen": the encoder forgets the value, which is
    smallest, and the model gives it the vector of values it never saw.
    """

    slots: dict[str, Array]
    """For each id of the slot, whether it is kept."""
    dropped_to: Literal["zero", "unseen"] = "zero"
    drop_from_history: bool = False
    """Whether histories leave dropped items out, instead of holding zeros in their places."""

    @property
    def slots_named(self) -> tuple[str, ...]:
        """The slots of the masks."""
        return tuple(self.slots)

    def lines(self) -> list[str]:
        """Say how many features stay."""
        found: list[str] = []
        stay = known = 0
        for slot, kept in self.slots.items():
            count, total = int(kept.values.sum()) - FIRST, len(kept) - FIRST
            stay, known = stay + count, known + total
            found.append(
                f"{slot}: {count:,} of {total:,} features kept ({count / max(1, total):.1%}); others {self.dropped_to}"
                f"{', left out of histories' if self.drop_from_history else ''}"
            )
        if len(self.slots) > 1:
            found.append(
                f"in these {len(self.slots)}: {stay:,} of {known:,} features kept ({stay / max(1, known):.1%})"
            )
        return found

    def check(self) -> None:
        """Raise UsageError: a mask is none, or drops padding or unseen; a forgotten value is to be left out."""
        super().check()
        if self.drop_from_history and self.dropped_to == "unseen":
            raise UsageError(
                f"{self.name}: drop_from_history goes with dropped_to 'zero': a forgotten value cannot be told in a "
                "history from one that training never saw."
            )
        for slot, kept in self.slots.items():
            if kept.kind != "bits" or len(kept) < FIRST or not kept.values[:FIRST].all():
                raise UsageError(f"{self.name}, slot '{slot}': one bit per id is needed, set for padding and unseen.")


class IdMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ids that share rows."""

    rows: int
    """Number of rows after, padding and unseen included."""
    ids: Array
    """Row of each id, [ids]; 0 of padding, 1 of unseen."""
    second: Array | None = None
    """A second row of each id: its vector is the sum of both rows of one table (double hashing)."""


class IdMaps(Part, frozen=True, tag="maps"):
    """Id maps by slot (GraphHash, hashing, frequency)."""

    slots: dict[str, IdMap]

    @property
    def slots_named(self) -> tuple[str, ...]:
        """The slots that are mapped."""
        return tuple(self.slots)

    def lines(self) -> list[str]:
        """Say how many rows are left, and how they were shared."""
        how = " ".join(str(word) for word in (self.found_by.method, self.found_by.settings.get("kind", "")) if word)
        return [
            f"{slot}: {len(one.ids) - FIRST:,} ids share {one.rows - FIRST:,} rows"
            f"{', two each' if one.second is not None else ''} ({how})"
            for slot, one in self.slots.items()
        ]

    def check(self) -> None:
        """Raise UsageError: a map is none, moves padding or unseen, or leaves rows without an id."""
        super().check()
        for slot, one in self.slots.items():
            where = f"{self.name}, slot '{slot}'"
            for ids in (one.ids, one.second):
                if ids is None:
                    continue
                values = ids.values
                if ids.kind != "int32" or len(ids) != len(one.ids) or len(ids) <= FIRST:
                    raise UsageError(f"{where}: a map gives a row to each of the slot's ids.")
                if values[PADDING] != PADDING or values[UNSEEN] != UNSEEN or values[FIRST:].min() < UNSEEN:
                    raise UsageError(f"{where}: padding stays row 0, unseen stays row 1, and nothing else is padding.")
                if values.max() >= one.rows:
                    raise UsageError(f"{where}: the map names row {values.max()} of {one.rows}.")
            if one.rows > 2 * len(one.ids):
                raise UsageError(f"{where}: {len(one.ids):,} ids need no {one.rows:,} rows.")
            if one.second is None and len(np.unique(one.ids.values)) != one.rows:
                used = len(np.unique(one.ids.values))
                raise UsageError(f"{where}: {one.rows - used} of {one.rows} rows belong to no id; number them closely.")


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ids `first` ... `last` - 1 of a slot keep these columns of their vectors; the others are zero."""

    first: int
    last: int
    columns: tuple[int, ...]


class Columns(Part, frozen=True, tag="columns"):
    """How many columns, and which, the vectors of each block of ids keep. Ids in no block keep all."""

    dim: int
    """Columns of a whole vector."""
    slots: dict[str, tuple[Block, ...]]
    ranked: bool = False
    """Whether blocks are ranges of frequency ranks over the whole vocabulary, so that they hold on other rows too."""

    @property
    def slots_named(self) -> tuple[str, ...]:
        """The slots with blocks."""
        return tuple(self.slots)

    def lines(self) -> list[str]:
        """Say how many columns the blocks keep."""
        found: list[str] = []
        for slot, blocks in self.slots.items():
            told = ", ".join(f"{len(block.columns)} for ids {block.first:,}–{block.last - 1:,}" for block in blocks[:6])
            more = f" and {len(blocks) - 6} blocks more" if len(blocks) > 6 else ""
            found.append(f"{slot}: of {self.dim} columns {told}{more}")
        return found

    def check(self) -> None:
        """Raise UsageError: blocks overlap or are out of order, or name a column that there is not."""
        super().check()
        if not self.slots:
            raise UsageError(f"{self.name} names no vocabulary; leave the part out.")
        for slot, blocks in self.slots.items():
            at = FIRST
            for block in blocks:
                if not at <= block.first < block.last:
                    raise UsageError(
                        f"{self.name}, slot '{slot}': the block {block.first}..{block.last} begins before {at} or "
                        "is empty; blocks follow each other, and padding and unseen are in none."
                    )
                at = block.last
                if list(block.columns) != sorted({c for c in block.columns if 0 <= c < self.dim}):
                    raise UsageError(
                        f"{self.name}, slot '{slot}': columns {block.columns} are not in rising order, "
                        f"or not all within 0..{self.dim - 1}."
                    )


class Ranks(Part, frozen=True, tag="ranks"):
    """Vocabularies whose vectors are products: so many numbers per id, and one matrix that makes vectors of them."""

    slots: dict[str, int]
    """Slot to its rank, the numbers per id. They are of no numbering: a rank holds on other rows too."""

    def lines(self) -> list[str]:
        """Say the ranks."""
        return [f"{slot}: vectors of rank {rank}" for slot, rank in self.slots.items()]

    def check(self) -> None:
        """Raise UsageError: a rank is below 1."""
        super().check()
        for slot, rank in self.slots.items():
            if rank < 1:
                raise UsageError(f"{self.name}: '{slot}' has rank {rank}; give 1 or more.")


WIDEST = 1 << 16
"""Columns of a pair at most."""


class PairOp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model does with a pair of fields, besides what its backbone does."""

    fields: tuple[str, str]
    op: Literal["memorise", "factorise"]
    dim: int
    index: Literal["exact", "hash"] = "exact"
    min_count: int = 2
    """An exact index keeps pairs of values that training met this often."""
    buckets: int | None = None
    """Rows of a hashed index."""
    seed: int = 0
    """Of the hash."""
    std: float = 0.1
    """Deviation of the vectors' first weights: as in the search, for other ones rate a product otherwise."""


class Pairs(Part, frozen=True, tag="pairs"):
    """The operation of field pairs; a pair that is not named is naive: nothing is added for it."""

    pairs: tuple[PairOp, ...]

    def lines(self) -> list[str]:
        """Say what each pair does."""
        if not self.pairs:
            return ["every pair of fields is naive: nothing is added to the backbone"]
        return [f"pair {' x '.join(pair.fields)}: {pair.op}, {pair.dim} columns" for pair in self.pairs]

    def check(self) -> None:
        """Raise UsageError: a pair is named twice or with itself, or an option does not fit."""
        super().check()
        seen: set[frozenset[str]] = set()
        for pair in self.pairs:
            both, told = frozenset(pair.fields), " x ".join(pair.fields)
            if len(both) != 2 or both in seen:
                raise UsageError(f"{self.name}: the pair {told} {'is twice' if both in seen else 'is one field'}.")
            seen.add(both)
            if pair.dim < 1 or pair.min_count < 1:
                raise UsageError(f"{self.name}, pair {told}: dim {pair.dim} and min_count {pair.min_count} are from 1.")
            if pair.dim > WIDEST:
                raise UsageError(f"{self.name}, pair {told}: dim is {pair.dim:,}; give {WIDEST:,} at most.")
            if not 0 <= pair.std < math.inf:
                raise UsageError(f"{self.name}, pair {told}: std is {pair.std}; it is at least 0, and finite.")
            if (pair.index == "hash") != (pair.buckets is not None) or (pair.buckets or 1) < 1:
                raise UsageError(f"{self.name}, pair {told}: buckets are given with index='hash', and only then.")


AnyPart = KeptFields | IdMaps | KeptFeatures | Columns | Ranks | Pairs
ORDER: tuple[type[Part], ...] = (KeptFields, IdMaps, KeptFeatures, Columns, Ranks, Pairs)
"""The order in which parts act."""
