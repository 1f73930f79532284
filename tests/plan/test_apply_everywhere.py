"""Any Plan renumbers every array alike: columns, bags, histories, shared vocabularies, bins and side tables."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN, ZERO, Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.plan import FoundBy, IdMap, IdMaps, KeptFeatures, Plan
from clicksmith.plan.apply import apply_plan, numbering
from clicksmith.plan.arrays import Array
from clicksmith.plan.merge import merge
from clicksmith.schema import Schema
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Label, Numeric
from clicksmith.schema.schema import SideTable

BY = FoundBy(method="test")
SCHEMA = Schema(
    fields=(
        Categorical("item"),
        Categorical("last", share="item"),
        Categorical("place", buckets=5),
        Bag("liked", separator="|", share="item"),
        Numeric("price", scale="quantile", bins=4),
        Categorical("brand"),
        Bag("words", separator="|"),
    ),
    label=Label("click"),
    behaviours=(Behaviour("seen", of="item", separator="|"),),
    tables=(SideTable("items", "items.csv", "item"),),
)
RANDOM = np.random.default_rng(3)
LETTERS = list("abcdefg")


def some(most: int) -> str:
    return "|".join(RANDOM.choice(LETTERS, RANDOM.integers(0, most + 1)))


ROWS = pl.DataFrame({
    "item": RANDOM.choice(LETTERS, 60),
    "last": RANDOM.choice(LETTERS, 60),
    "place": RANDOM.choice([f"p{i}" for i in range(9)], 60),
    "liked": [some(3) for _ in range(60)],
    "price": RANDOM.normal(size=60),
    "seen": [some(4) for _ in range(60)],
    "click": RANDOM.integers(0, 2, 60),
})  # fmt: skip
ITEMS = pl.DataFrame({
    "item": LETTERS, "brand": ["x", "x", "y", "z", "z", "w", "w"], "words": ["u|v", "v", "w|u", "", "v", "w", "u"],
})  # fmt: skip
NEW = ROWS.with_columns(item=pl.lit("never"), liked=pl.lit("a|never"), price=pl.lit(None, pl.Float64)).head(5)
ENCODER = Encoder.fit(SCHEMA, ROWS, tables={"items": ITEMS})


@st.composite
def choices(draw):
    """Per slot a mask and a map of ids to rows, numbered closely, and where features go."""
    found = {}
    for slot, rows in ENCODER.layout.rows.items():
        bits = draw(st.lists(st.booleans(), min_size=rows - 2, max_size=rows - 2))
        groups = draw(st.lists(st.integers(0, 3), min_size=rows - 2, max_size=rows - 2))
        used = sorted(set(groups))
        kept, rows_of = np.array([True, True, *bits]), np.array([0, 1, *(2 + used.index(g) for g in groups)], np.int32)
        found[slot] = kept, rows_of
    return found, draw(st.sampled_from(["zero", "unseen"]))


def expected(kept: np.ndarray, rows_of: np.ndarray, dropped: int) -> np.ndarray:
    """Return the new id of each old one, by hand; the last entry is for ids that are zero already."""
    left = sorted({int(r) for r, k in zip(rows_of[2:], kept[2:], strict=True) if k})
    ids = [2 + left.index(r) if k else dropped for r, k in zip(rows_of[2:], kept[2:], strict=True)]
    return np.array([0, UNSEEN, *ids], np.int32)


def arrays(rows: EncodedRows, layout: Layout) -> dict[str, tuple[str, np.ndarray]]:
    """Return every array of ids with its slot."""
    found = {f"id {c.name}": (c.slot, rows.ids[:, i]) for i, c in enumerate(layout.ids)}
    found |= {f"bag {b.name}": (b.slot, rows.bags[b.name]) for b in layout.bags}
    for h in layout.histories:
        found |= {f"{h.name} {c.name}": (c.slot, rows.histories[h.name][..., k]) for k, c in enumerate(h.columns)}
    return found


@settings(max_examples=25, deadline=None)
@given(choices())
def test_every_array_is_renumbered_alike(asked):
    chosen, to = asked
    at = numbering(ENCODER)
    masks = {slot: Array(kept) for slot, (kept, _) in chosen.items()}
    maps = {slot: IdMap(rows=int(rows_of.max()) + 1, ids=Array(rows_of)) for slot, (_, rows_of) in chosen.items()}
    features = Plan(parts=(KeptFeatures(slots=masks, dropped_to=to, numbering=at, found_by=BY),))
    shared = Plan(parts=(IdMaps(slots=maps, numbering=at, found_by=BY),))
    under = apply_plan(merge(features, shared), ENCODER).encoder
    assert under.digest == apply_plan(merge(shared, features), ENCODER).encoder.digest
    tables = {s: expected(kept, rows_of, ZERO if to == "zero" else UNSEEN) for s, (kept, rows_of) in chosen.items()}
    assert under.layout.rows == {slot: max(2, int(table.max()) + 1) for slot, table in tables.items()}
    for rows in (ROWS, NEW):
        old, new = arrays(ENCODER.encode(rows), ENCODER.layout), arrays(under.encode(rows), under.layout)
        assert old.keys() == new.keys()
        for name, (slot, ids) in old.items():
            np.testing.assert_array_equal(new[name][1], tables[slot][ids], err_msg=f"{name} of {slot}")
    for slot, table in tables.items():
        counts = np.zeros(under.layout.rows[slot], np.int64)
        before = ENCODER.counts(slot)
        np.add.at(counts, table[table >= 0], before[table >= 0])
        np.testing.assert_array_equal(under.counts(slot), counts, err_msg=slot)


@settings(max_examples=5, deadline=None)
@given(choices())
def test_an_encoder_under_any_plan_survives_the_disk(tmp_path_factory, asked):
    chosen, to = asked
    masks = {slot: Array(kept) for slot, (kept, _) in chosen.items()}
    part = KeptFeatures(slots=masks, dropped_to=to, numbering=numbering(ENCODER), found_by=BY)
    under = apply_plan(Plan(parts=(part,)), ENCODER).encoder
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    under.save(folder)
    back = Encoder.load(folder)
    assert back.digest == under.digest and back.layout == under.layout and numbering(back) == numbering(under)
    for name, (_, ids) in arrays(under.encode(NEW), under.layout).items():
        np.testing.assert_array_equal(arrays(back.encode(NEW), back.layout)[name][1], ids)
