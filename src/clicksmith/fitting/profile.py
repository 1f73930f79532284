"""The profile of a run's data: from what the encoder counted, and from a look at some of the encoded rows."""

from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.numbers import Moments, unbent
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.encode.texts import Packed
from clicksmith.encode.unseen import some_rows, unseen_shares
from clicksmith.encode.vocabulary import FIRST, Vocabulary
from clicksmith.report import ColumnProfile, PartRows
from clicksmith.report.columns import kinds, shown
from clicksmith.schema import Categorical, Numeric, Schema

LOOKED_AT = 1 << 14
"""Rows of each part that say how many values are unseen, to about a percent."""
EXAMPLES = 3
"""Values of a column that are shown, the most frequent."""


class DataProfile(msgspec.Struct, frozen=True):
    """What a run knows of its data."""

    parts: tuple[PartRows, ...] = ()
    columns: tuple[ColumnProfile, ...] = ()


def profile_of_run(
    schema: Schema, encoder: Encoder, stores: Mapping[str, Store], reasons: Mapping[str, str]
) -> DataProfile:
    """Return a line per part of the rows and one per column.

    stores: encoded rows by part, `train` among them. reasons: why the schema was proposed so, by column
    """
    some = {part: some_rows(store, LOOKED_AT) for part, store in stores.items() if store.rows}
    unseen = {part: unseen_shares(rows, stores[part].layout) for part, rows in some.items()}
    layout, fields = encoder.layout, {c.name: c for c in schema.fields}
    slots = {c.name: c.slot for c in (*layout.ids, *layout.bags)}
    used = Counter([*slots.values(), *(c.slot for h in layout.histories for c in h.columns)])
    missing = _without_values(some["train"])
    columns: list[ColumnProfile] = []
    for name, kind in kinds(schema).items():
        column, known = fields.get(name), encoder.fitted.vocabularies.get(slots.get(name, ""))
        example = ""
        if isinstance(column, Numeric):
            missing[name] = _missing_numbers(encoder.moments[name])
            example = _limits(column, encoder.moments[name])
        elif known is not None:
            example = shown(_first(known.values))
            if isinstance(column, Categorical):
                missing[name] = _missing_names(column, known, encoder.rows, alone=used[slots[name]] == 1)
        columns.append(
            ColumnProfile(
                name,
                kind,
                unique=None if known is None else layout.rows[slots[name]] - FIRST,
                missing=missing.get(name),
                reason=reasons.get(name, ""),
                example=example,
                unseen={part: shares[name] for part, shares in unseen.items() if name in shares},
            )
        )
    columns += [ColumnProfile(name, "not used", reason=reasons.get(name, "")) for name in schema.ignored]
    return DataProfile(tuple(_part(name, store) for name, store in stores.items()), tuple(columns))


def _part(name: str, store: Store) -> PartRows:
    """Return how many rows a part has, and how many of them are 1 by label."""
    known = {label: store.targets["labels"][:, i] for i, label in enumerate(store.layout.labels)}
    return PartRows(name, store.rows, {label: int(np.count_nonzero(values == 1)) for label, values in known.items()})


def _without_values(rows: EncodedRows) -> dict[str, float | None]:
    """Return the share of rows without a value, of bags and histories."""
    found: dict[str, float | None] = {name: float((ids[:, 0] == 0).mean()) for name, ids in rows.bags.items()}
    for name, ids in rows.histories.items():
        newest = ids[:, -1, 0]
        found[name] = float(((newest if rows.owner is None else newest[rows.owner]) == 0).mean())
    return found


def _missing_numbers(moments: Moments) -> float:
    return moments.missing / max(1, moments.missing + moments.count)


def _missing_names(column: Categorical, known: Vocabulary, rows: int, *, alone: bool) -> float | None:
    """Return the share of training rows whose cell is empty; None where the counts do not tell.

    alone: no other column counts in this vocabulary
    """
    if known.plain or (known.keep.buckets is not None and column.missing == "value"):
        return None  # a Plan forgot values, or their bucket has others
    both = ((known.values, known.counts), (known.rare, known.rare_counts))
    empty = sum(int(counts[np.flatnonzero(np.diff(texts.ends, prepend=0) == 0)].sum()) for texts, counts in both)
    if not alone:
        return None if empty or column.missing == "unseen" else 0.0
    return 1 - (sum(int(counts.sum()) for _, counts in both) - empty) / rows


def _first(values: Packed) -> list[str]:
    """Return the first values, which are the most frequent."""
    ends = values.ends[:EXAMPLES]
    return Packed(values.text[: int(ends[-1]) if len(ends) else 0], ends).to_list()


def _limits(column: Numeric, moments: Moments) -> str:
    """Return the least and the greatest number."""
    if moments.low is None or moments.high is None:
        return ""
    ends = np.array([moments.low, moments.high])
    low, high = unbent(ends) if column.scale == "log" else ends
    return f"{low:.6g} … {high:.6g}"
