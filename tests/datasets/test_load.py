"""The published data sets: what is known of each is true of what is loaded. Real files are used where they are."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace as replace_struct

from clicksmith.datasets import DATASETS, load
from clicksmith.datasets.prepare import avazu, kkbox
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, StorageError, UnknownNameError
from clicksmith.schema import Bag, Behaviour, Categorical, Numeric

NAMES = (
    "frappe_x1 movielens_1m movielens_100k movielens_1m_temporal movielens_100k_temporal "
    "criteo_x1 criteo_x4 avazu_x1 avazu_x4 kkbox_x1 movielenslatest_x1 "
    "taobaoad_x1 amazonelectronics_x1 "
    "kuaivideo_x1 microvideo1.7m_x1 microlens_1m_x1 frappe_x1_rebuilt criteo_sample avazu_sample"
)
FIELDS = {
    "frappe_x1": 10, "criteo_x1": 39, "criteo_x4": 39, "avazu_x1": 22, "avazu_x4": 24, "kkbox_x1": 13,
    "movielenslatest_x1": 3, "taobaoad_x1": 17, "movielens_1m": 7,
}  # fmt: skip


def values(encoder: Encoder) -> int:
    return sum(slot.rows - 2 for slot in encoder.layout.slots)  # without padding and unseen


def test_every_promised_data_set_is_there():
    assert set(NAMES.split()) <= set(DATASETS)
    assert all(spec.name == name for name, spec in DATASETS.items())


@pytest.mark.parametrize("name", FIELDS)
def test_the_number_of_fields_is_the_published_one(name):
    for schema in DATASETS[name].schema.values():
        assert len(schema.fields) == FIELDS[name]


def test_sums_are_md5_sums_and_no_two_files_share_one():
    sums = [(spec.id, file.name, md5) for spec in DATASETS.values() for file in spec.files for md5 in file.md5]
    assert all(len(md5) == 32 and set(md5) <= set("0123456789abcdef") for _, _, md5 in sums)
    own = {md5: set() for _, _, md5 in sums}
    for _, name, md5 in sums:
        own[md5].add(name)
    assert all(len(names) == 1 for names in own.values())


def test_protocols_of_one_data_set_differ_in_what_they_keep():
    one, two = (load_schema("criteo_x4", name) for name in ("criteo_x4_001", "criteo_x4_002"))
    assert {field.min_count for field in one.fields} == {10}
    assert {field.min_count for field in two.fields} == {2}
    assert {type(field) for field in one.fields} == {Numeric, Categorical}
    assert all(field.scale == "log_square" for field in one.fields if isinstance(field, Numeric))
    assert {field.min_count for field in load_schema("avazu_x4", "avazu_x4_002").fields} == {1}


def load_schema(name: str, protocol: str):
    return DATASETS[name].schema[protocol]


def test_histories_have_the_published_lengths_and_share_their_item_table():
    for name, length in (
        ("taobaoad_x1", 50),
        ("amazonelectronics_x1", 100),
        ("kuaivideo_x1", 100),
        ("microvideo1.7m_x1", 100),
    ):
        for history in next(iter(DATASETS[name].schema.values())).behaviours:
            assert isinstance(history, Behaviour)
            assert history.max_length == length
            assert all(side.of is not None for side in history.sides)


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no data set named 'criteo_x'. Did you mean 'criteo_x"):
        load("criteo_x", tmp_path)
    with pytest.raises(UnknownNameError, match="no protocol of criteo_x4 named 'x4_001'"):
        load("criteo_x4", tmp_path, protocol="x4_001")


def test_what_cannot_be_downloaded_says_where_to_get_it(tmp_path):
    with pytest.raises(StorageError) as error:
        load("criteo_sample", tmp_path)
    assert str(error.value) == (
        f"the data set 'criteo_sample' is not in '{tmp_path}'. Take the first 10,000 lines of Criteo's train.txt. "
        f"Put train_first10000.tsv into '{tmp_path}/criteo_kaggle_10k' and run again."
    )


def test_avazu_hours_become_hour_weekday_and_weekend(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,click,hour\n1,0,14102100\n2,1,14102523\n3,0,14102607\n")
    rows = avazu(dict.fromkeys(("train", "valid", "test"), path))["valid"].collect()
    assert rows["hour"].to_list() == ["00", "23", "07"]
    assert rows["weekday"].to_list() == [2, 6, 0]  # Tuesday, Saturday, Sunday
    assert rows["weekend"].to_list() == [0, 1, 1]
    assert "id" not in rows.columns


def test_kkbox_ages_and_countries_are_cut_as_published(tmp_path):
    path = tmp_path / "k.csv"
    ages = {"0": None, "1": 0, "10": 0, "11": 1, "20": 1, "21": 2, "60": 5, "61": 6, "95": 6, "96": None, "-3": None}
    path.write_text("isrc,bd\n" + "".join(f"GBAYE05,{age}\n" for age in ages))
    rows = kkbox(dict.fromkeys(("train", "valid", "test"), path))["train"].collect()
    assert rows["bd"].to_list() == list(ages.values())
    assert set(rows["isrc"]) == {"GB"}


def test_large_preparations_are_written_once_beside_the_files(tmp_path):
    header = "id,click,hour," + ",".join(field.name for field in DATASETS["avazu_x4"].schema["avazu_x4_001"].fields[3:])
    folder = tmp_path / "Avazu_x4"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"{part}.csv").write_text(header + "".join(f"\n{i},{i},14102100" + ",7" * 21 for i in (0, 1)))
    one, two = (load("avazu_x4", tmp_path, verify=False) for _ in range(2))
    assert one.train == two.train
    assert Path(str(one.train)).parent.parent == folder
    assert one.frame()["weekday"].to_list() == [2, 2]
    assert Encoder.fit(one.schema, one.train).layout.order == one.schema.field_names


def test_test_rows_also_validate_where_the_benchmark_does_so(tmp_path):
    folder = tmp_path / "AmazonElectronics_x1"
    folder.mkdir()
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text(
            "label,user_id,item_id,cate_id,item_history,cate_history\n1,1,2,3,4^2,5^3\n0,1,9,3,4,5\n"
        )
    dataset = load("amazonelectronics_x1", tmp_path, verify=False)
    assert dataset.valid == dataset.test
    assert any("selected on test rows" in note for note in dataset.notes)
    assert Encoder.fit(dataset.schema, dataset.train).layout.histories[0].length == 100


def test_frappe_has_the_published_vocabulary(shared_data):
    dataset = load("frappe_x1_rebuilt", shared_data, fetch=False)
    assert {part: dataset.frame(part).height for part in dataset.parts} == {
        "train": 202_027,
        "valid": 57_722,
        "test": 28_860,
    }
    assert dataset.frame()["label"].cast(int).sum() == 67_604
    kept = values(Encoder.fit(dataset.schema, dataset.train))
    assert kept == 5_379
    assert kept + len(dataset.schema.fields) == 5_389  # with one unseen id per field, as BARS counts
    assert any("rebuilt train negatives" in note for note in dataset.notes)


def test_a_rebuilt_frappe_is_not_taken_for_the_official_one(shared_data):
    with pytest.raises(StorageError, match="the data set 'frappe_x1' is not in"):
        load("frappe_x1", shared_data, fetch=False)


def test_movielens_1m_is_autoints(shared_data):
    dataset = load("movielens_1m", shared_data, fetch=False)
    rows = pl.concat([dataset.frame(part) for part in dataset.parts])
    assert rows.height == 739_012
    assert rows["label"].mean() == pytest.approx(0.778, abs=0.0005)
    assert {dataset.frame(part).height for part in ("valid", "test")} == {73_901}
    assert dataset.schema.field_names == ("gender", "age", "occupation", "zip", "year", "timestamp", "genres")
    assert rows["timestamp"].min() >= 0 and 0.99 <= rows["timestamp"].max() <= 1
    assert rows["year"].null_count() == rows["gender"].null_count() == 0
    assert {year for year in rows["year"].unique() if year < 1970} == {1910, 1920, 1930, 1940, 1950, 1960}


@pytest.mark.parametrize("name", ["movielens_1m", "movielens_100k"])
def test_a_temporal_variant_has_the_same_rows_and_never_looks_ahead(name, shared_data):
    chance, temporal = (load(which, shared_data, fetch=False) for which in (name, f"{name}_temporal"))
    assert temporal.schema.time is not None and temporal.schema.time.name not in temporal.schema.field_names
    times = [temporal.frame(part)[temporal.schema.time.name].cast(pl.Int64) for part in ("train", "valid", "test")]
    assert all(one.max() < two.min() for one, two in pairwise(times))
    whole = [pl.concat([d.frame(part) for part in d.parts]) for d in (chance, temporal)]
    assert [len(one) for one in times] == [chance.frame(part).height for part in ("train", "valid", "test")]
    assert whole[0].sort(whole[0].columns).equals(whole[1].sort(whole[1].columns))
    assert chance.frame("test").height > 0 and not chance.frame("test").equals(temporal.frame("test"))


def test_a_split_of_ours_that_comes_out_otherwise_is_refused(shared_data, monkeypatch):
    spec = DATASETS["movielens_100k"]
    monkeypatch.setitem(DATASETS, "movielens_100k", replace(spec, split=replace_struct(spec.split, seed=1)))
    with pytest.raises(
        DataError, match=r"'movielens_100k': the row numbers of train have SHA-256 .*, expected 242a87c3"
    ):
        load("movielens_100k", shared_data, fetch=False)
    assert load("movielens_100k", shared_data, fetch=False, verify=False).frame("test").height == 7285


@pytest.mark.parametrize(
    "name", ["movielens_100k", "criteo_sample", "avazu_sample", "taobao_ad_sample", "next_item_lastfm"]
)
def test_samples_load_and_encode(shared_data, name):
    dataset = load(name, shared_data, fetch=False)
    encoder = Encoder.fit(dataset.schema, dataset.train)
    assert values(encoder) > 100
    for part in ("valid", "test"):
        assert len(encoder.encode(dataset.frame(part), labels=True).ids) == dataset.frame(part).height > 0


def test_next_items_are_one_true_and_one_drawn_with_the_items_before(shared_data):
    dataset = load("next_item_lastfm", shared_data, fetch=False)
    train, test = dataset.frame("train"), dataset.frame("test")
    assert test["label"].mean() == 0.5
    true = train.filter(pl.col("label") == 1).join(test.filter(pl.col("label") == 1), on="user_id", suffix="_later")
    assert (true["item_history_later"].list.len() == true["item_history"].list.len() + 2).all()
    place = true["item_history"].list.len()
    assert (true.select(pl.col("item_history_later").list.get(place)).to_series() == true["item_id"]).all()


def test_bags_of_kkbox_hold_three():
    bags = [field for field in DATASETS["kkbox_x1"].schema["kkbox_x1"].fields if isinstance(field, Bag)]
    assert [(bag.name, bag.max_length) for bag in bags] == [("genre_ids", 3), ("artist_name", 3)]


def test_a_stand_in_that_is_there_is_mentioned(tmp_path):
    """Where only the rebuilt files lie, the error names the data set that they are."""
    folder = tmp_path / "frappe_x1_rebuilt"
    folder.mkdir()
    for file in DATASETS["frappe_x1_rebuilt"].files:
        (folder / file.name).write_text("label,user\n")
    with pytest.raises(StorageError, match=r"There is 'frappe_x1_rebuilt'; load that by its name\."):
        load("frappe_x1", tmp_path, fetch=False)
