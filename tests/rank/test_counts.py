"""Counts: exact, additive over any parts, the same for any order; what they refuse."""

import numpy as np
import pytest
from stored import store_of

from clicksmith.encode.layout import BagColumn, HistoryColumn, HistoryLayout, Layout, NumericColumn, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, DataError
from clicksmith.rank import rank_store, views
from clicksmith.rank.counts import Counts, count
from clicksmith.rank.views import bins, edges_of, sampled, views_of


def world(rows=1_000, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, [3, 50, 900], (rows, 3)), (random.random(rows) < 0.3).astype(np.int64)


def same(one, two):
    return one.rows == two.rows and one.clicks == two.clicks and all(
        np.array_equal(one.by[k][i], two.by[k][i]) for k in one.by for i in (0, 1)
    )  # fmt: skip


def test_counts_equal_a_loop_for_small_and_large_pieces(monkeypatch):
    codes, labels = world()
    store = store_of(codes, labels)
    for size in (64, 5_000):  # one shorter than the number of values, one longer than the store
        monkeypatch.setattr(views.pieces, "__defaults__", (0, None, size))
        found = count(store, views_of(store))
        for f in range(3):
            rows, clicks = found.by[f"f{f}|values"]
            for value in range(len(rows)):
                met = codes[:, f] + 2 == value
                assert rows[value] == met.sum() and clicks[value] == labels[met].sum()
        assert found.rows == 1_000 and found.clicks == labels.sum()


def test_parts_add_up_in_any_order_and_rows_may_be_shuffled(tmp_path):
    codes, labels = world()
    store = store_of(codes, labels)
    of, whole = views_of(store), count(store, views_of(store))
    one, two = count(store, of, stop=333), count(store, of, start=333)
    assert same(one.merge(two), whole) and same(two.merge(one), whole)
    order = np.random.default_rng(1).permutation(1_000)
    assert same(count(store_of(codes[order], labels[order]), of), whole)
    one.save(tmp_path / "one.npz")
    assert same(Counts.load(tmp_path / "one.npz").merge(two), whole)


def test_counts_of_other_encodings_are_not_added(tmp_path):
    codes, labels = world()
    one, two = store_of(codes, labels), store_of(codes[:, :2], labels)
    with pytest.raises(DataError, match=r"'f2'.*one encoder"):
        count(one, views_of(one)).merge(count(two, views_of(two)))
    count(one, views_of(one)).save(tmp_path / "no.npz")
    whole = (tmp_path / "no.npz").read_bytes()
    for damaged in (b"nothing", b"", whole[:-40], whole[:50] + b"\xff" * 30 + whole[80:]):
        (tmp_path / "no.npz").write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"no\.npz.*Count the rows again"):
            Counts.load(tmp_path / "no.npz")


def test_counts_of_other_rows_than_the_stores_are_refused():
    codes, labels = world()
    store = store_of(codes, labels)
    of = views_of(store)
    whole, half = count(store, of), count(store, of, stop=500)
    for counts, said in ((whole.merge(whole), "2,000 rows, the store has 1,000"), (half, "500 rows")):
        with pytest.raises(DataError, match=said):
            rank_store(store, counts=counts)
    with pytest.raises(DataError, match="the counts lack field 'f2'"):
        rank_store(store, counts=count(store, of[:2]))


def test_sampled_rows_are_the_same_in_whatever_pieces_they_are_chosen(monkeypatch):
    found = sampled(300_000, 1_000, 7)
    assert 800 < len(found) < 1_200 and (np.diff(found) > 0).all() and found[-1] > 290_000
    monkeypatch.setattr(views, "PIECE", 777)
    assert (sampled(300_000, 1_000, 7) == found).all()


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([0, 1, 2], [97, 2, 1]),
        ([0, 1], [3, 97]),
        ([-1, 0, 1], [2, 96, 2]),
        ([7], [100]),
        (list(range(20)), [5] * 20),
    ],
)
def test_a_number_that_fills_a_bin_has_one_of_its_own(values, rows):
    numbers = np.repeat(np.array(values, np.float32), rows)
    found = dict(zip(numbers.tolist(), bins(numbers, edges_of(numbers)).tolist(), strict=True))
    for value, many in zip(values, rows, strict=True):
        if many >= 5:
            assert [v for v in values if found[v] == found[value]] == [value]
    assert sorted(found.values()) == list(found.values()) and min(found.values()) >= 2


def test_bins_hold_equal_counts_of_numbers_that_do_not_repeat():
    numbers = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    met = np.bincount(bins(numbers, edges_of(numbers)))
    assert len(met[met > 0]) == 20 and set(met[met > 0].tolist()) == {500}


def test_weights_count_as_repeated_rows():
    codes, labels = world(300)
    weight = np.random.default_rng(2).integers(1, 4, 300)
    weighted = store_of(codes, labels, weight=weight.astype(np.float32))
    again = np.repeat(np.arange(300), weight)
    repeated = store_of(codes[again], labels[again])
    found, wanted = count(weighted, views_of(weighted)), count(repeated, views_of(repeated))
    assert all(np.allclose(found.by[k][i], wanted.by[k][i]) for k in wanted.by for i in (0, 1))
    assert found.total == wanted.rows and found.rows == 300


@pytest.mark.parametrize(
    ("label", "weight", "match"),
    [
        (np.nan, 1.0, "row 8: the label is nan"),
        (3.0, 1.0, "row 8: the label is 3; fields are ranked by a label of 0 and 1"),
        (1.0, 0.0, "row 8: the weight is 0; a row that counts has a weight above 0"),
        (1.0, -2.0, "row 8: the weight is -2"),
    ],
)
def test_labels_and_weights_are_checked(label, weight, match):
    codes, labels = world(20)
    labels, weights = labels.astype(float), np.ones(20, np.float32)
    labels[7], weights[7] = label, weight
    store = store_of(codes, labels, weight=weights)
    with pytest.raises(DataError, match=match):
        count(store, views_of(store))


def test_negative_ids_and_rows_without_labels_are_refused():
    codes, labels = world(20)
    codes[3, 1] = -5
    store = store_of(codes, labels)
    with pytest.raises(DataError, match="field 'f1' has a negative id"):
        count(store, views_of(store))
    rows = EncodedRows(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32))
    with pytest.raises(DataError, match="without labels"):
        count(Store.of(rows, Layout()), [])


def of_several(bags, labels):
    layout = Layout(slots=(Slot("tag", 9),), bags=(BagColumn("tag", "tag", bags.shape[1]),))
    nothing = np.zeros((len(bags), 0))
    rows = EncodedRows(nothing.astype(np.int32), nothing.astype(np.float32), {"tag": bags}, labels=labels[:, None])
    return Store.of(rows, layout)


def test_sets_know_no_order_and_values_count_once_a_row():
    bags = np.array([[2, 3, 0], [3, 2, 2], [4, 0, 0], [0, 0, 0]], np.int32)
    store = of_several(bags, np.array([1, 1, 0, 0], np.float32))
    as_set, each = views_of(store)
    codes = as_set.read(store.slice(0, 4), 0)
    assert codes[0] == codes[1] and len(set(codes.tolist())) == 3 and codes.max() < as_set.size
    rows, clicks = count(store, [each]).by["tag|one value"]
    assert rows.tolist() == [0, 0, 2, 2, 1, 0, 0, 0, 0] and clicks.tolist() == [0, 0, 2, 2, 0, 0, 0, 0, 0]


def test_a_history_is_read_by_the_row_that_owns_it():
    layout = Layout(slots=(Slot("ad", 9),), histories=(HistoryLayout("h", (HistoryColumn("seen", "ad", "ad"),), 2),))
    nothing = np.zeros((3, 0))
    rows = EncodedRows(
        nothing.astype(np.int32),
        nothing.astype(np.float32),
        histories={"h": np.array([[[0], [5]], [[6], [7]]], np.int32)},
        owner=np.array([1, 0, 1], np.int32),
        labels=np.ones((3, 1), np.float32),
    )
    store = Store.of(rows, layout)
    assert [view.field for view in views_of(store)] == ["seen", "seen"]
    assert count(store, views_of(store)).by["seen|one value"][0].tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 0]


def test_numbers_fall_into_bins_of_equal_counts_and_nan_into_its_own():
    numbers = np.append(np.arange(1_000.0), [np.nan] * 10).astype(np.float32)
    layout = Layout(numeric=(NumericColumn("price"),))
    rows = EncodedRows(np.zeros((1_010, 0), np.int32), numbers[:, None], labels=np.ones((1_010, 1), np.float32))
    store = Store.of(rows, layout)
    (view,) = views_of(store)
    met = count(store, [view]).by["price|bins"][0]
    assert met[1] == 10 and len(met) == 22 and set(met[2:].tolist()) <= {49, 50, 51}
    assert bins(np.array([np.nan, -1, 5], np.float32), np.array([0, 5], np.float32)).tolist() == [1, 2, 4]
