"""Permutation importance on scores whose use of every field is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clicksmith.encode.crossed import Crossed
from clicksmith.encode.crosses import CrossOf
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
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.source import open_source
from clicksmith.errors import DataError, UnknownNameError, UsageError
from clicksmith.evaluate.auc import auc
from clicksmith.explain.permutation import field_names, permutation_importance, shuffled
from clicksmith.schema import Behaviour, Categorical, Label, Numeric, Schema

LAYOUT = Layout(
    slots=(Slot("ad", 50),),
    ids=(IdColumn("ad", "ad"), IdColumn("noise", "ad")),
    numeric=(NumericColumn("price"), NumericColumn("idle")),
    bags=(BagColumn("tags", "ad", 3),),
    vectors=(VectorColumn("image", 2),),
    histories=(
        HistoryLayout("clicked", (HistoryColumn("ad", "ad", "ad"),), 4),
        HistoryLayout("seen", (HistoryColumn("ad", "ad", "ad"),), 4),
    ),
    domains=4,
    order=("noise", "ad", "price", "tags", "idle", "image"),
)
USED = ("ad", "price", "tags", "image", "clicked", "domain")


class Held:
    """Rows in memory, as a store."""

    layout = LAYOUT

    def __init__(self, all_rows: EncodedRows) -> None:
        self.all, self.rows, self.largest = all_rows, len(all_rows), 0

    def take(self, row_numbers: np.ndarray) -> EncodedRows:
        r, a = row_numbers, self.all
        self.largest = max(self.largest, r.size)
        return EncodedRows(
            ids=a.ids[r],
            numeric=a.numeric[r],
            bags={k: v[r] for k, v in a.bags.items()},
            vectors={k: v[r] for k, v in a.vectors.items()},
            histories=a.histories if a.owner is not None else {k: v[r] for k, v in a.histories.items()},
            owner=None if a.owner is None else a.owner[r],
            domain=a.domain[r],  # type: ignore[index]
            labels=None if a.labels is None else a.labels[r],
            group=a.group[r],  # type: ignore[index]
        )


def score(rows: EncodedRows) -> np.ndarray:
    """A score that reads USED and nothing else."""
    clicked = rows.histories["clicked"][:, :, 0].mean(1)
    clicked = clicked if rows.owner is None else clicked[rows.owner]
    assert rows.domain is not None
    return (
        rows.ids[:, 0] / 10
        + rows.numeric[:, 0]
        + rows.bags["tags"].sum(1) / 50
        + rows.vectors["image"].sum(1)
        + clicked / 8
        + rows.domain / 2
    )


def world(n: int = 1500, *, owned: bool = True) -> Held:
    random = np.random.default_rng(0)
    users = 40 if owned else n
    rows = EncodedRows(
        ids=random.integers(2, 50, (n, 2)).astype(np.int32),
        numeric=random.normal(size=(n, 2)).astype(np.float32),
        bags={"tags": random.integers(0, 50, (n, 3)).astype(np.int32)},
        vectors={"image": random.normal(size=(n, 2)).astype(np.float32)},
        histories={name: random.integers(0, 50, (users, 4, 1)).astype(np.int32) for name in ("clicked", "seen")},
        owner=random.integers(0, users, n).astype(np.int32) if owned else None,
        domain=random.integers(1, 4, n).astype(np.int32),
        group=random.integers(0, 30, n),
    )
    z = score(rows)
    labels = random.random(n) < 1 / (1 + np.exp(-(z - z.mean())))
    return Held(replace(rows, labels=labels[:, None].astype(np.float32)))


@pytest.mark.parametrize("owned", [True, False], ids=["histories by user", "histories by row"])
@pytest.mark.parametrize("metric", ["auc", "logloss", "gauc"])
def test_fields_that_are_used_matter_and_the_others_lose_exactly_nothing(owned: bool, metric: str) -> None:
    found = permutation_importance(lambda r: score(r) - 7, world(owned=owned), metric=metric, repeats=3, batch_size=400)
    by_name = {i.field: i for i in found.fields}
    assert set(by_name) == set(field_names(LAYOUT)) == {*USED, "noise", "idle", "seen"}
    for name in ("noise", "idle", "seen"):
        assert (by_name[name].drop, by_name[name].low, by_name[name].high) == (0.0, 0.0, 0.0)
    assert all(by_name[name].low > 0 for name in USED)
    assert [i.drop for i in found.fields] == sorted((i.drop for i in found.fields), reverse=True)


def test_the_base_is_the_metric_and_batches_bound_the_memory() -> None:
    store = world()
    labels = store.all.labels
    assert labels is not None
    found = permutation_importance(score, store, fields=["ad"], batch_size=100)
    assert found.base == auc(labels[:, 0], score(store.all).astype(np.float32))
    assert store.largest == 100 and found.rows == 1500
    assert permutation_importance(score, store, fields=["ad"], max_rows=300).rows == 300


def test_fields_shuffled_together_lose_more_than_each_alone() -> None:
    found = permutation_importance(score, world(), fields=["ad", "image", ("ad", "image")])
    drops = {i.field: i.drop for i in found.fields}
    assert drops["ad + image"] > max(drops["ad"], drops["image"])


def test_the_same_seed_gives_the_same_importance_and_another_another() -> None:
    one, two, three = (permutation_importance(score, world(300), fields=["ad"], seed=s) for s in (1, 1, 2))
    assert one == two != three


def test_shuffling_changes_the_named_field_only_and_not_its_argument() -> None:
    held = world(20)
    rows, donors = held.take(np.arange(10)), held.take(np.arange(10, 20))
    before = rows.ids.copy()
    changed = shuffled(rows, donors, LAYOUT, ("noise", "seen"))
    np.testing.assert_array_equal(rows.ids, before)
    np.testing.assert_array_equal(changed.ids, np.stack([rows.ids[:, 0], donors.ids[:, 1]], axis=1))
    np.testing.assert_array_equal(changed.histories["seen"], donors.histories["seen"][donors.owner])
    np.testing.assert_array_equal(changed.histories["clicked"], rows.histories["clicked"][rows.owner])
    assert changed.owner is None
    np.testing.assert_array_equal(changed.numeric, rows.numeric)


def test_several_outputs_choose_one_and_missing_labels_are_named() -> None:
    held = world(400)
    two = permutation_importance(
        lambda r: np.stack([score(r), np.zeros(len(r))], axis=1), held, fields=["ad"], repeats=1
    )
    assert two.base == permutation_importance(score, held, fields=["ad"], repeats=1).base
    with pytest.raises(
        DataError, match=r"^the rows have no labels, so importance cannot be measured; pass labelled rows.$"
    ):
        permutation_importance(score, Held(replace(held.all, labels=None)))


def test_wrong_requests_say_what_is_right() -> None:
    held = world(50)
    with pytest.raises(UnknownNameError, match=r"^no field named 'prize'. Did you mean 'price'\?$"):
        permutation_importance(score, held, fields=["prize"])
    with pytest.raises(UsageError, match=r"^'ece' has no analytic interval; choose 'auc' or 'logloss', for example.$"):
        permutation_importance(score, held, metric="ece")
    with pytest.raises(UsageError, match=r"^repeats=0, max_rows=100000: at least one shuffle of two rows is needed.$"):
        permutation_importance(score, held, repeats=0)
    with pytest.raises(DataError, match=r"^1 rows are too few to shuffle; pass at least two.$"):
        permutation_importance(score, Held(held.take(np.arange(1))))


def test_an_encoded_log_on_disk_is_ranked_by_field_history_and_domain(tmp_path: Path) -> None:
    random, n = np.random.default_rng(0), 400
    ad = random.integers(0, 12, n)
    frame = pl.DataFrame(
        {
            "ad": [f"a{i}" for i in ad],
            "noise": [f"b{i}" for i in random.integers(0, 5, n)],
            "price": random.normal(size=n),
            "clicked": ["|".join(f"a{j}" for j in random.integers(0, 12, 3)) for _ in range(n)],
            "user": random.integers(0, 20, n),
            "shop": [f"s{i}" for i in random.integers(0, 3, n)],
            "click": (ad + random.normal(size=n) * 3 > 6).astype(np.int8),
        }
    )
    schema = Schema(
        fields=(Categorical("ad"), Categorical("noise"), Numeric("price")),
        behaviours=(Behaviour("clicked", of="ad"),),
        label=Label("click"),
        group="user",
        domain="shop",
    )
    _, store = Encoder.fit_encode(schema, open_source(frame), tmp_path / "rows")
    rows = store.slice(0, n)
    assert rows.labels is not None
    clicks = np.bincount(rows.ids[:, 0], rows.labels[:, 0] - 0.5, store.layout.rows["ad"])
    found = permutation_importance(lambda r: clicks[r.ids[:, 0]] + 0 * r.numeric[:, 0], store, metric="gauc", repeats=2)
    assert found.fields[0].field == "ad" and found.fields[0].low > 0
    assert {i.field: i.drop for i in found.fields[1:]} == {"noise": 0, "price": 0, "clicked": 0, "domain": 0}


def test_a_memorised_pair_goes_with_the_fields_it_is_made_of(tmp_path):
    """The label is whether two fields agree, which only their cross says; shuffling either takes it all away."""
    random = np.random.default_rng(0)
    one, two, other = (random.integers(0, 2, 4000) for _ in range(3))
    frame = pl.DataFrame({"one": one, "two": two, "other": other, "click": (one == two).astype(int)})
    fields = tuple(Categorical(name) for name in ("one", "two", "other"))
    encoder, store = Encoder.fit_encode(Schema(fields=fields, label=Label("click")), frame, tmp_path / "rows")
    encoder = encoder.with_crosses([CrossOf(fields=("one", "two"))], store)
    crossed = Crossed(store, encoder.crosses)
    taste = {}
    for row, click in zip(crossed.slice(0, 4000).ids[:, -1], frame["click"], strict=True):
        taste[int(row)] = float(click)

    def score(rows):
        return np.array([taste[int(row)] for row in rows.ids[:, -1]], np.float32)

    found = permutation_importance(score, crossed, crosses=encoder.crosses, repeats=2)
    drops = {one.field: one.drop for one in found.fields}
    assert set(drops) == {"one", "two", "other"}
    assert min(drops["one"], drops["two"]) > 0.4 and abs(drops["other"]) < 1e-9
