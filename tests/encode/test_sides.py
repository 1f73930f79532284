"""Side tables: joined by id, stored once, and equal to a log into which they were joined beforehand."""

import numpy as np
import polars as pl
import pytest

from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, SchemaError
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Multimodal, Numeric, Schema, SideTable

FIELDS = (
    Categorical("user", role="user"),
    Categorical("age", role="user", min_count=2),
    Numeric("income", role="user"),
    Categorical("item", role="item"),
    Bag("tags", max_length=2),
    Numeric("price", scale="log_square"),
    Multimodal("image", dim=2, by="item", file="images.parquet"),
)
CLICKS = Behaviour("clicks", of="item", max_length=3)
TABLES = (SideTable("users", "users.csv", key="user"), SideTable("items", "items.csv", key="id", on="item"))
JOINED = Schema(fields=(*FIELDS[:-1], Multimodal("image", dim=2)), behaviours=(CLICKS,), label=Label("click"))
SCHEMA = Schema(fields=FIELDS, behaviours=(CLICKS,), label=Label("click"), tables=TABLES)

USERS = pl.DataFrame({
    "user": ["u1", "u2", "u3", "never"],
    "age": ["old", "young", "old", "secret"],
    "income": [10.0, None, 30.0, 1e9],
    "clicks": ["i1|i2|i1|i3", "", "i2", "i9"],
})  # fmt: skip
ITEMS = pl.DataFrame({"id": ["i1", "i2", "i3"], "tags": ["a|b", "b", ""], "price": [3, 100, None], "unused": [1, 2, 3]})
IMAGES = pl.DataFrame({"item": ["i1", "i2"], "image": [[1.0, 2.0], [3.0, 4.0]]})
LOG = pl.DataFrame({
    "user": ["u1", "u2", "u1", "u3", "stranger", "u1"],
    "item": ["i1", "i2", "i3", "i1", "i1", "i4"],
    "click": [0, 1, 0, 1, 1, 0],
})  # fmt: skip
GIVEN = {"users": USERS, "items": ITEMS, "image": IMAGES}


def joined(log: pl.DataFrame) -> pl.DataFrame:
    wide = log.join(USERS, on="user", how="left", maintain_order="left")
    wide = wide.join(ITEMS.rename({"id": "item"}), on="item", how="left", maintain_order="left")
    return wide.join(IMAGES, on="item", how="left", maintain_order="left")


def assert_same(got, wanted) -> None:
    assert got.ids.tolist() == wanted.ids.tolist()
    np.testing.assert_array_equal(got.numeric, wanted.numeric)
    assert got.bags["tags"].tolist() == wanted.bags["tags"].tolist()
    assert got.vectors["image"].tolist() == wanted.vectors["image"].tolist()
    assert got.owner is not None and wanted.owner is None
    assert got.histories["clicks"][got.owner].tolist() == wanted.histories["clicks"].tolist()


def test_side_tables_equal_the_joined_log_in_training_and_serving(kernels, tmp_path):
    plain = Encoder.fit(JOINED, joined(LOG))
    encoder, store = Encoder.fit_encode(SCHEMA, LOG, tmp_path / "rows", tables=GIVEN)
    assert encoder.layout.rows == plain.layout.rows and encoder.layout.order == plain.layout.order
    for slot in encoder.layout.rows:
        assert encoder.values(slot) == plain.values(slot)
        assert encoder.counts(slot).tolist() == plain.counts(slot).tolist()
    wanted = plain.encode(joined(LOG), labels=True)
    assert_same(encoder.encode(LOG, labels=True), wanted)
    assert_same(store.slice(0, 6), wanted)
    assert_same(store.take(np.arange(6)), wanted)
    assert_same(encoder.encode_to(LOG, tmp_path / "again").slice(0, 6), wanted)
    for i, row in enumerate(LOG.to_dicts()):
        assert encoder.encode(row).ids.tolist() == wanted.ids[i : i + 1].tolist()


def test_a_users_history_is_there_once_for_all_its_rows(tmp_path):
    encoder, store = Encoder.fit_encode(SCHEMA, LOG, tmp_path / "rows", tables=GIVEN)
    rows = store.slice(0, 6)
    assert rows.histories["clicks"].shape == (4, 3, 1) and rows.owner.tolist()[0] == rows.owner.tolist()[2]
    candidates = encoder.encode([{"user": "u1", "item": f"i{i}"} for i in range(50)])
    assert candidates.histories["clicks"].shape == (1, 3, 1) and candidates.owner.tolist() == [0] * 50


def test_only_what_the_log_refers_to_is_learned(kernels):
    encoder = Encoder.fit(SCHEMA, LOG, tables=GIVEN)
    assert "never" not in encoder.values("user") and "i9" not in encoder.values("item")
    assert encoder.values("age") == ["old", ""] or encoder.values("age") == ["old"]
    assert encoder.moments["income"].high == 30.0


def test_side_tables_are_saved_with_the_encoder_and_merge_and_extend(kernels, tmp_path):
    encoder = Encoder.fit(SCHEMA, LOG, tables=GIVEN)
    encoder.save(tmp_path / "encoder")
    loaded = Encoder.load(tmp_path / "encoder")
    wanted = encoder.encode(LOG)
    assert loaded.digest == encoder.digest and loaded.encode(LOG).ids.tolist() == wanted.ids.tolist()
    assert loaded.encode(LOG).histories["clicks"].tolist() == wanted.histories["clicks"].tolist()
    merged = Encoder.fit(SCHEMA, LOG[:3], tables=GIVEN).merge(Encoder.fit(SCHEMA, LOG[3:], tables=GIVEN))
    assert merged.digest == encoder.digest
    new = pl.DataFrame({"user": ["u4"], "age": ["old"], "income": [1.0], "clicks": ["i1"]})
    more = pl.concat([USERS, new])
    day = pl.DataFrame({"user": ["u4", "u1"], "item": ["i1", "i5"], "click": [1, 1]})
    grown = encoder.extend(day, tables={"users": more})
    assert grown.values("user")[: len(encoder.values("user"))] == encoder.values("user")
    assert grown.encode(LOG[:4]).ids.tolist() == wanted.ids[:4].tolist()
    ids = grown.encode({"user": "u4", "item": "i1"})
    assert ids.histories["clicks"][0, :, 0].tolist() == [0, 0, grown.values("item").index("i1") + 2]


def test_side_tables_are_found_below_the_root(tmp_path):
    USERS.write_csv(tmp_path / "users.csv")
    ITEMS.write_csv(tmp_path / "items.csv")
    IMAGES.write_parquet(tmp_path / "images.parquet")
    assert Encoder.fit(SCHEMA, LOG, root=tmp_path).digest == Encoder.fit(SCHEMA, LOG, tables=GIVEN).digest


def test_a_key_that_appears_twice_is_refused():
    twice = GIVEN | {"users": pl.concat([USERS, USERS[1:2]])}
    with pytest.raises(DataError) as error:
        Encoder.fit(SCHEMA, LOG, tables=twice)
    assert str(error.value) == (
        "the frame row 5: the key 'user' is 'u2' again. A side table has one row per key; drop the others."
    )
    with pytest.raises(SchemaError, match=r"no side table named 'user'. Did you mean 'users'?"):
        Encoder.fit(SCHEMA, LOG, tables={"user": USERS})


def test_numbers_that_must_be_there_are_missing_for_unknown_keys_only(kernels):
    schema = Schema(
        fields=(Categorical("item"), Numeric("age", missing="refuse")),
        label=Label("click"),
        tables=(SideTable("users", "users.csv", key="user"),),
    )
    users = pl.DataFrame({"user": ["u1", "u2", "u3"], "age": [10.0, 20.0, 30.0]})
    encoder = Encoder.fit(schema, LOG, tables={"users": users})
    assert np.isnan(encoder.encode(LOG).numeric[:, 0]).tolist() == [user == "stranger" for user in LOG["user"]]
    with pytest.raises(
        DataError, match=r"the frame row 2: column 'age' is empty, and its schema says missing=\"refuse"
    ):
        Encoder.fit(schema, LOG, tables={"users": users.with_columns(age=pl.Series([1.0, None, 2.0]))})


def test_a_column_of_two_side_tables_is_refused():
    with pytest.raises(SchemaError) as error:
        Encoder.fit(SCHEMA, LOG, tables=GIVEN | {"items": ITEMS.with_columns(age=pl.lit("new"))})
    assert str(error.value) == (
        "column 'age' is in two side tables, 'users' and 'items'. Rename or drop it in one of them: "
        "a field is read from one table."
    )


def test_the_digest_follows_the_keys_of_side_tables():
    moved = GIVEN | {"users": USERS.with_columns(user=pl.Series(["u2", "u1", "u3", "never"]))}
    log = LOG.with_columns(user=pl.lit("u3"))
    one, two = (Encoder.fit(SCHEMA, log, tables=tables) for tables in (GIVEN, moved))
    assert one.encode(LOG).numeric.tolist() != two.encode(LOG).numeric.tolist() and one.digest != two.digest
