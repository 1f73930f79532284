"""Crosses: ids by loops, the same in serving, padding and unseen, hashing, bounded counting, and what is refused."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from clicksmith.encode.crossed import Crossed
from clicksmith.encode.crosses import CrossOf, buckets_of, fit_crosses, ordered
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import (
    BagColumn,
    HistoryColumn,
    HistoryLayout,
    IdColumn,
    Layout,
    NumericColumn,
    Slot,
    VectorColumn,
)
from clicksmith.errors import ArtifactError, UsageError
from clicksmith.schema import Bag, Categorical, Label, Numeric, Schema
from clicksmith.schema.schema import SideTable

SCHEMA = Schema(
    fields=(
        Categorical(name="user", role="user"),
        Categorical(name="age", role="user"),
        Categorical(name="item", role="item", min_count=2),
        Numeric(name="price"),
        Bag(name="tags"),
    ),
    label=Label("click"),
)


def rows(n=300, seed=0):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": [f"u{i}" for i in random.integers(0, 12, n)],
            "age": [None if i == 0 else f"a{i}" for i in random.integers(0, 4, n)],
            "item": [f"i{i}" for i in random.integers(0, 30, n)],
            "price": random.random(n),
            "tags": ["x|y"] * n,
            "click": random.integers(0, 2, n),
        }
    )


def fitted(tmp_path, *wanted, data=None):
    encoder, store = Encoder.fit_encode(SCHEMA, rows() if data is None else data, tmp_path / "rows")
    return encoder, store, encoder.with_crosses(wanted, store)


def test_ids_are_those_of_a_dictionary_of_the_pair_itself(tmp_path):
    plain, store, crossed = fitted(
        tmp_path, CrossOf(fields=("user", "item"), min_count=3), CrossOf(fields=("user", "age"))
    )
    ids = store.slice(0, store.rows).ids
    got = crossed.encode(rows()).ids
    assert np.array_equal(got[:, :3], ids)
    for column, (a, b, least) in enumerate(((0, 2, 3), (0, 1, 2)), 3):
        counts = Counter((int(r[a]), int(r[b])) for r in ids if r[a] > 1 and r[b] > 1)
        kept = sorted((pair for pair, n in counts.items() if n >= least), key=lambda pair: (-counts[pair], pair))
        number = {pair: i + 2 for i, pair in enumerate(kept)}
        for row, found in zip(ids, got[:, column], strict=True):
            pair = (int(row[a]), int(row[b]))
            assert found == (0 if 0 in pair else number.get(pair, 1))
        name = crossed.layout.ids[column].name
        assert crossed.counts(name).tolist()[2:] == [counts[pair] for pair in kept]
        assert crossed.layout.rows[name] == 2 + len(kept)
    assert [c.role for c in crossed.layout.ids[3:]] == ["context", "user"]
    assert crossed.digest != plain.digest


def test_the_order_of_the_two_fields_makes_no_difference(tmp_path):
    _, store, one = fitted(tmp_path, CrossOf(fields=("user", "item")))
    (two,) = fit_crosses(store, [CrossOf(fields=("item", "user"))])
    assert two.name == one.crosses[0].name == "user*item"
    assert np.array_equal(two.keys, one.crosses[0].keys)


def test_unseen_sides_and_pairs_are_unseen_and_padding_is_padding(tmp_path):
    _, _, crossed = fitted(tmp_path, CrossOf(fields=("user", "item"), min_count=1))
    cross = crossed.crosses[0]
    known = cross.keys[0]
    a, b = np.array([known // cross.base]), np.array([known % cross.base])
    assert cross.id_of(a, b)[0] >= 2
    assert cross.id_of(np.ones_like(a), b)[0] == cross.id_of(a, np.ones_like(b))[0] == 1
    assert cross.id_of(np.zeros_like(a), np.ones_like(b))[0] == 0
    assert cross.id_of(a, np.full_like(b, -1))[0] == 0  # a feature that a Plan made zero
    other = crossed.encode({"user": "nobody", "age": "a1", "item": "i1", "price": 1.0, "tags": "x"}).ids
    assert other[0, 3] == 1


def test_what_is_saved_encodes_raw_rows_alike_and_batches_equal_single_rows(tmp_path):
    hashed = CrossOf(fields=("age", "item"), index="hash", buckets=7, min_count=1, seed=3)
    _, store, crossed = fitted(tmp_path, CrossOf(fields=("user", "item")), hashed)
    crossed.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved")
    data = rows()
    expected = crossed.encode(data).ids
    assert again.digest == crossed.digest
    assert again.layout == crossed.layout
    assert np.array_equal(again.encode(data).ids, expected)
    assert np.array_equal(np.concatenate([again.encode(row).ids for row in data.head(20).to_dicts()]), expected[:20])
    written = crossed.encode_to(data, tmp_path / "again")
    assert np.array_equal(written.slice(0, 300).ids, expected)
    for small in (0, 1 << 20):  # for each batch anew, or once
        wide = Crossed(store, crossed.crosses, small=small)
        assert wide.layout == crossed.layout
        assert np.array_equal(wide.take(np.array([5, 299, 0])).ids, expected[[5, 299, 0]])
        assert np.array_equal(wide.slice(10, 20).ids, expected[10:20])
        assert np.array_equal(wide.slice(0, 300).ids, expected)
    with pytest.raises(ArtifactError, match=r"has crosses \(user\*item, age\*item\)"):
        crossed.merge(crossed)


def test_a_side_may_come_from_a_side_table(tmp_path):
    schema = Schema(
        fields=(Categorical(name="user"), Categorical(name="item"), Categorical(name="brand")),
        label=Label("click"),
        tables=(SideTable(name="items", path="items.csv", key="item"),),
    )
    items = pl.DataFrame({"item": [f"i{i}" for i in range(30)], "brand": [f"b{i % 5}" for i in range(30)]})
    data = rows().select("user", "item", "click")
    joined = Encoder.fit_encode(schema, data, tmp_path / "a", tables={"items": items})
    crossed = joined[0].with_crosses([CrossOf(fields=("user", "brand"))], joined[1])
    flat_schema = Schema(fields=schema.fields, label=schema.label)
    flat, store = Encoder.fit_encode(flat_schema, data.join(items, on="item"), tmp_path / "b")
    flat = flat.with_crosses([CrossOf(fields=("user", "brand"))], store)
    got, expected = crossed.encode(data), flat.encode(data.join(items, on="item", maintain_order="left"))
    names = [c.name for c in crossed.layout.ids]
    assert names[-1] == "user*brand"
    assert sorted(Counter(got.ids[:, -1].tolist()).values()) == sorted(Counter(expected.ids[:, -1].tolist()).values())
    assert np.array_equal(crossed.encode_to(data, tmp_path / "c").slice(0, 300).ids, got.ids)


def test_counting_in_many_passes_gives_what_one_pass_gives(tmp_path):
    _, store, _ = fitted(tmp_path, CrossOf(fields=("user", "item")))
    (one,) = fit_crosses(store, [CrossOf(fields=("user", "item"))])
    (many,) = fit_crosses(store, [CrossOf(fields=("user", "item"))], memory=1000)
    for name in ("keys", "ids", "counts"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
    assert one.unseen == many.unseen


def test_hashed_keys_collide_as_often_as_chance_says():
    n, m = 50_000, 1 << 16
    filled = len(np.unique(buckets_of(np.arange(n, dtype=np.int64) * 977, m, 5)))
    empty = (1 - 1 / m) ** n
    deviation = np.sqrt(m * (empty - empty**2) + m * (m - 1) * ((1 - 2 / m) ** n - empty**2))
    assert abs((n - filled) - (n - m * (1 - empty))) < 3 * deviation


def test_a_bucket_that_training_met_too_rarely_is_unseen(tmp_path):
    _, store, _ = fitted(tmp_path, CrossOf(fields=("user", "item")))
    (cross,) = fit_crosses(store, [CrossOf(fields=("user", "item"), index="hash", buckets=400, min_count=2)])
    ids = Crossed(store, [cross]).slice(0, 300).ids[:, -1]
    counts = np.bincount(ids, minlength=cross.rows)
    assert counts[2:].min() >= 2
    assert np.array_equal(counts[2:], cross.counts)
    assert (np.diff(cross.counts) <= 0).all()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([("user", "itm")], "did you mean 'item'|Did you mean 'item'"),
        ([("user", "price")], "'price' is no field with one id per row .*scale='quantile'"),
        ([("user", "tags")], "'tags' is no field with one id per row"),
        ([("user", "item"), ("item", "user")], "the pair item x user is given twice"),
        ([("user", "user")], "the cross user x user is of one field"),
    ],
)
def test_a_pair_that_cannot_be_crossed_is_refused_by_name(tmp_path, wanted, says):
    encoder, store = Encoder.fit_encode(SCHEMA, rows(), tmp_path / "rows")
    with pytest.raises(UsageError, match=says):
        encoder.with_crosses([CrossOf(fields=pair) for pair in wanted], store)


@pytest.mark.parametrize("other", ["price", "tags", "image", "seen"])
def test_only_fields_with_one_id_per_row_are_crossed(other):
    layout = Layout(
        slots=(Slot("a", 9),), ids=(IdColumn("a", "a"),), numeric=(NumericColumn("price"),),
        bags=(BagColumn("tags", "a", 3),), vectors=(VectorColumn("image", 4),),
        histories=(HistoryLayout("seen", (HistoryColumn("seen", "a", "a"),), 3),),
    )  # fmt: skip
    with pytest.raises(UsageError, match=f"the pair a x {other}: '{other}' is no field with one id per row .*scale="):
        ordered(layout, [CrossOf(fields=("a", other))])


def test_keys_beyond_64_bits_are_refused():
    layout = Layout(slots=(Slot("a", 2**32), Slot("b", 2**31)), ids=(IdColumn("a", "a"), IdColumn("b", "b")))
    with pytest.raises(UsageError, match="do not fit 64 bits; give its fields buckets"):
        ordered(layout, [CrossOf(fields=("a", "b"))])
