import hashlib

import numpy as np
import polars as pl
import pytest

from clicksmith.datasets import Dataset
from clicksmith.errors import DataError, SchemaError
from clicksmith.schema import Categorical, Label, Schema

SCHEMA = """
[schema]
label = {kind = "label", name = "click"}
fields = [{kind = "categorical", name = "user", role = "user"}, {kind = "categorical", name = "ad"}]
group = "user"
time = {kind = "time", name = "when"}
"""


@pytest.fixture
def folder(tmp_path):
    for name, rows in (("a.csv", 60), ("b.csv", 40), ("valid.csv", 10)):
        frame = pl.DataFrame({"click": [i % 2 for i in range(rows)], "user": [i % 9 for i in range(rows)]})
        frame.with_columns(pl.lit("x").alias("ad"), pl.int_range(pl.len()).alias("when")).write_csv(tmp_path / name)
    return tmp_path


def declare(folder, text: str) -> Dataset:
    (folder / "shop.toml").write_text(text)
    return Dataset.from_toml(folder / "shop.toml")


def test_given_files_are_relative_to_the_declaration(folder):
    dataset = declare(folder, 'train = ["a.csv", "b.csv"]\nvalid = "valid.csv"\nnotes = ["mine"]\n' + SCHEMA)
    assert dataset.name == "shop"
    assert {name: dataset.frame(name).height for name in dataset.parts} == {"train": 100, "valid": 10}
    assert dataset.schema.field_names == ("user", "ad")
    assert dataset.notes == ("mine",)
    assert len(set(dataset.digests.values())) == 2
    with pytest.raises(DataError, match="the data set 'shop' has no test rows; it has train, valid"):
        dataset.frame("test")


def test_patterns_and_a_schema_file_are_taken(folder):
    Schema(fields=(Categorical("user"),), label=Label("click")).save(folder / "schema.json")
    dataset = declare(folder, 'train = "[ab].csv"\nschema = "schema.json"\nname = "mine"\n')
    assert (dataset.name, dataset.frame().height, dataset.schema.field_names) == ("mine", 100, ("user",))


@pytest.mark.parametrize("how", ["random", "time", "group"])
def test_parts_are_taken_off_train(folder, how):
    text = f'train = "[ab].csv"\n[split]\nhow = "{how}"\nseed = 3\n[split.shares]\ntrain = 0.5\ntest = 0.5\n'
    dataset = declare(folder, text + SCHEMA)
    train, test = dataset.frame("train"), dataset.frame("test")
    assert train.height + test.height == 100
    if how == "time":
        assert train["when"].cast(int).max() < test["when"].cast(int).min()
    if how == "group":
        assert not set(train["user"]) & set(test["user"])
    assert declare(folder, text + SCHEMA).digests == dataset.digests


def test_files_of_whole_numbers_and_of_fractions_are_split_together(folder):
    columns = {"user": ["u"] * 10, "ad": ["a"] * 10, "when": list(range(10)), "click": [0, 1] * 5}
    for name, x in (("c", 1), ("d", 0.5)):
        pl.DataFrame(columns).with_columns(x=pl.lit(x)).write_parquet(folder / f"{name}.parquet")
    dataset = declare(folder, 'train = "[cd].parquet"\n[split]\n' + SCHEMA)
    assert sorted(x for part in dataset.parts for x in dataset.frame(part)["x"]) == [0.5] * 10 + [1.0] * 10
    assert declare(folder, 'train = "[cd].parquet"\n' + SCHEMA).frame()["x"].sum() == 15


def test_the_latest_rows_are_the_test_rows_in_whatever_order_shares_are_written(folder):
    shares = {"train": 0.5, "valid": 0.25, "test": 0.25}
    found = []
    for names in (("train", "valid", "test"), ("test", "valid", "train")):
        text = 'train = "[ab].csv"\n[split]\nhow = "time"\n[split.shares]\n'
        found.append(declare(folder, text + "".join(f"{name} = {shares[name]}\n" for name in names) + SCHEMA))
    assert found[0].digests == found[1].digests
    assert found[1].frame("train")["when"].cast(int).max() < found[1].frame("test")["when"].cast(int).min()


def test_a_split_with_declared_sums_of_row_numbers_is_that_split_or_none(folder):
    text = 'train = "[ab].csv"\n[split]\nhow = "time"\n[split.checksums]\ntest = "SUM"\n' + SCHEMA
    times = [int(row) for name in ("a.csv", "b.csv") for row in pl.read_csv(folder / name)["when"]]
    latest = [row for row, time in enumerate(times) if time >= sorted(times)[90]]
    numbers = hashlib.sha256(np.array(latest, "<i8").tobytes()).hexdigest()
    assert declare(folder, text.replace("SUM", numbers)).frame("test").height == len(latest)
    refused(
        folder,
        DataError,
        f"row numbers of test have SHA-256 {numbers}, expected abc. The rows",
        text.replace("SUM", "abc"),
    )
    wrong = text.replace("SUM", numbers).replace("test =", "tset =")
    refused(folder, DataError, "row numbers of tset have SHA-256 no such part", wrong)


def refused(folder, error: type[Exception], match: str, text: str) -> None:
    with pytest.raises(error, match=match):
        declare(folder, text)


def test_what_is_wrong_is_said_with_its_place(folder):
    refused(folder, SchemaError, "train", SCHEMA)
    refused(folder, SchemaError, "vaild", 'train = "a.csv"\nvaild = "b.csv"\n' + SCHEMA)
    refused(folder, SchemaError, r"\$.schema", 'train = "a.csv"\n[schema]\nlabel = {kind = "label", name = "click"}\n')
    split = 'train = "a.csv"\nvalid = "valid.csv"\n[split]\nhow = "random"\n' + SCHEMA
    refused(
        folder, SchemaError, "takes valid and test off train, but files are given for them. Keep one of both", split
    )
    refused(
        folder,
        SchemaError,
        "split.how is 'rnd'; it must be random, time or group",
        'train = "a.csv"\n[split]\nhow = "rnd"\n' + SCHEMA,
    )
    refused(folder, SchemaError, "it needs train", 'train = "a.csv"\n[split]\n[split.shares]\nvalid = 1.0\n' + SCHEMA)
    with pytest.raises(DataError, match=r"cannot read the data set '.*none.toml': No such file"):
        Dataset.from_toml(folder / "none.toml")
