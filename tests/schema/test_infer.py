from datetime import time, timedelta

import numpy as np
import polars as pl
import pytest

from clicksmith.datasets.ad_world import ad_world
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, SchemaError
from clicksmith.fitting.propose import propose
from clicksmith.schema import Bag, Categorical, Multimodal, Numeric, Time
from clicksmith.schema.infer import infer

ROWS = 2000


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    r = np.random.default_rng(0)
    click = r.integers(0, 2, ROWS)
    items = r.zipf(1.5, ROWS) % 200
    history = [[int(x) for x in r.zipf(1.5, int(n)) % 200] for n in r.integers(1, 6, ROWS)]
    return pl.DataFrame(
        {
            "row": np.arange(ROWS) + 10_000_019,
            "user_id": r.integers(0, 300, ROWS) + 5_000_000_000_000_000_000,
            "item_id": items,
            "price": np.round(np.exp(2 * r.standard_normal(ROWS)), 2),
            "age": r.integers(18, 80, ROWS),
            "zip": [f"{z:05d}" for z in r.integers(0, 99999, 50)[r.integers(0, 50, ROWS)]],
            "device": r.choice(["phone", "tablet", "desk"], ROWS),
            "genres": ["|".join(r.choice(["a", "b", "c", "d"], n, replace=False)) for n in r.integers(1, 4, ROWS)],
            "clicked_items": history,
            "clicked_gaps": [[(x * 7) % 5 + 1000 for x in h] for h in history],
            "image": r.standard_normal((ROWS, 4)).astype(np.float32),
            "timestamp": 1_700_000_000 + np.sort(r.integers(0, 86_400, ROWS)),
            "constant": np.ones(ROWS, int),
            "nothing": pl.Series([None] * ROWS, dtype=pl.String),
            "title": [f"a long sentence about thing number {i} that nobody repeats" for i in r.integers(0, 1500, ROWS)],
            "copy": items,
            "purchased": np.where(r.random(ROWS) < 0.996, click, 1 - click),
            "click": click,
        }
    )


def kinds(proposal) -> dict[str, type]:
    return {column.name: type(column) for column in proposal.schema.fields}


def test_every_column_gets_a_kind_and_a_reason(frame):
    proposal = infer(frame)
    found = kinds(proposal)
    assert proposal.schema.labels[0].name == "click"
    assert found["user_id"] is found["item_id"] is found["zip"] is found["device"] is Categorical
    assert found["price"] is found["age"] is Numeric
    assert found["genres"] is Bag
    assert found["image"] is Multimodal
    assert proposal.schema.time == Time("timestamp", unit="s")
    assert proposal.schema.group == "user_id"
    assert set(proposal.reasons) == set(frame.columns)
    assert all(proposal.reasons.values())


def test_text_cells_give_the_same_schema_as_typed_ones(frame):
    text = frame.drop("image", "clicked_items", "clicked_gaps").cast(pl.String)
    assert infer(text).schema == infer(frame.drop("image", "clicked_items", "clicked_gaps")).schema


def test_behaviours_are_found_with_the_lists_that_go_along(frame):
    (history,) = infer(frame).schema.behaviours
    assert (history.name, history.of) == ("clicked_items", "item_id")
    assert [(side.name, side.of) for side in history.sides] == [("clicked_gaps", None)]


def test_delimited_histories_are_found_as_lists_are(frame):
    joined = frame.with_columns(
        pl.col("clicked_items", "clicked_gaps").cast(pl.List(pl.String)).list.join("^"), pl.col("price")
    )
    (history,) = infer(joined).schema.behaviours
    assert (history.name, history.of, history.separator) == ("clicked_items", "item_id", "^")


def test_a_vector_written_as_text_is_a_vector(frame):
    text = [str([round(float(x), 4) for x in row]) for row in frame["image"].to_numpy()]
    found = infer(frame.with_columns(pl.Series("image", text)))
    assert Multimodal("image", dim=4, role="item") in found.schema.fields


def test_suspects_are_named_with_their_kind(frame):
    suspects = {suspect.column: suspect for suspect in infer(frame).suspects}
    assert {name: suspect.kind for name, suspect in suspects.items()} == {
        "purchased": "leak",
        "row": "row id",
        "constant": "constant",
        "copy": "duplicate",
        "title": "text",
    }
    assert "nearly determines the label" in suspects["purchased"].text
    assert suspects["purchased"].strength > 0.99


@pytest.mark.parametrize("distinct", [100, 10_000])
def test_numbers_with_a_few_words_among_them_are_suspected(distinct):
    """One bad cell makes a column of text: that it is not a quantity any more is said, whatever becomes of it."""
    r = np.random.default_rng(5)
    price = [f"{x / 10}" for x in r.permutation(10_000)[:1000] % distinct]
    frame = pl.DataFrame({"price": price, "ad": r.integers(0, 9, 1000), "click": r.integers(0, 2, 1000)})
    assert infer(frame).suspects == ()
    (suspect,) = infer(frame.with_columns(price=pl.Series(["cheap", *price[1:]]))).suspects
    assert (suspect.column, suspect.kind) == ("price", "mixed")
    assert suspect.text == (
        "'price' holds numbers in all but 1 of 1000 cells, for example 'cheap', so it is not taken as numbers. "
        "If it is a quantity, empty or mend those cells."
    )
    words = pl.Series(["cheap", "dear", "fair"] * 100 + price[300:])
    assert "mixed" not in {s.kind for s in infer(frame.with_columns(price=words)).suspects}


def test_leaks_stay_fields_and_the_useless_are_ignored(frame):
    schema = infer(frame).schema
    assert "purchased" in schema.field_names
    assert set(schema.ignored) == {"row", "constant", "copy", "title", "nothing"}


def test_honest_strong_columns_are_no_leaks():
    r = np.random.default_rng(3)
    group = r.integers(0, 20, 20_000)
    click = r.random(20_000) < np.where(group % 2, 0.9, 0.1)
    frame = pl.DataFrame({"group_code": group, "user": r.integers(0, 15_000, 20_000), "click": click.astype(int)})
    assert infer(frame).suspects == ()


def test_a_leak_in_a_number_or_in_what_is_missing_is_found():
    r = np.random.default_rng(4)
    click = r.integers(0, 2, 5000)
    frame = pl.DataFrame(
        {
            "value": click + r.random(5000) * 0.9,
            "filled": pl.Series([int(x) if c else None for c, x in zip(click, r.integers(0, 9, 5000), strict=True)]),
            "other": r.integers(0, 30, 5000),
            "click": click,
        }
    )
    assert {suspect.column for suspect in infer(frame).suspects} == {"value", "filled"}


def test_user_ids_beyond_floats_stay_apart():
    first = 2**60
    frame = pl.DataFrame({"user_id": [first + i % 150 for i in range(3000)], "click": [i % 2 for i in range(3000)]})
    assert infer(frame).profile[0].unique == 150
    assert infer(frame.cast(pl.String)).profile[0].unique == 150


def test_rare_values_are_joined_only_in_larger_tables():
    frame = pl.DataFrame({"ad_id": np.arange(3000) % 700, "click": np.arange(3000) % 2})
    counts = [infer(frame, rows=rows).schema.fields[0].min_count for rows in (3000, 50_000, 2_000_000, 50_000_000)]
    assert counts == [1, 2, 5, 10]


def test_words_as_labels_name_the_positive_one():
    frame = pl.DataFrame({"ad": [str(i % 7) for i in range(200)], "outcome": ["no", "yes"] * 100})
    assert infer(frame, label="outcome").schema.labels[0].positive == "yes"
    signs = pl.DataFrame({"ad": [str(i % 7) for i in range(200)], "outcome": [-1, 1] * 100})
    assert infer(signs, label="outcome").schema.labels[0].positive == "1"


def test_dates_and_digits_are_times():
    days = pl.DataFrame({"day": ["2026-01-01", "2026-01-02"] * 60, "ad": ["a", "b", "c"] * 40, "click": [0, 1] * 60})
    assert infer(days).schema.time == Time("day", unit="text")
    hours = days.with_columns(pl.Series("day", [26010100, 26010123] * 60)).rename({"day": "hour"})
    assert infer(hours).schema.time == Time("hour", unit="s")


def test_a_large_frame_is_sampled_evenly(frame):
    proposal = infer(frame, sample_rows=500)
    assert proposal.rows == 500
    times = proposal.profile[frame.columns.index("timestamp")].quantiles
    assert times[0] < frame["timestamp"].quantile(0.05)
    assert times[-1] > frame["timestamp"].quantile(0.95)


def test_files_are_read_as_frames_are(frame, tmp_path):
    plain = frame.drop("image", "clicked_items", "clicked_gaps")
    plain.write_csv(tmp_path / "a.tsv", separator="\t")
    plain.write_parquet(tmp_path / "a.parquet")
    assert infer(tmp_path / "a.tsv").schema == infer(plain).schema == infer(str(tmp_path / "a.parquet")).schema


def test_no_label_names_the_candidates():
    frame = pl.DataFrame({"a": [0, 1] * 50, "b": list(range(100))})
    with pytest.raises(SchemaError) as error:
        infer(frame)
    assert str(error.value) == (
        "no column is named like a label (click, label, target, ...); columns with two values are: a. "
        "Name it with label=... or --label."
    )


@pytest.mark.parametrize(("no", "yes"), [("no", "yes"), ("N", "Y"), ("False", "True"), ("negative", "positive")])
def test_words_for_yes_and_no_are_a_label_as_0_and_1_are(no, yes, tmp_path):
    words = [yes if i % 3 else no for i in range(90)]
    pl.DataFrame({"ad": [f"a{i % 7}" for i in range(90)], "click": words}).write_csv(tmp_path / "log.csv")
    schema = propose(tmp_path / "log.csv").schema
    assert schema.labels[0].name == "click"
    _, store = Encoder.fit_encode(schema, tmp_path / "log.csv", tmp_path / "rows")
    assert store.targets["labels"][:, 0].tolist() == [float(word == yes) for word in words]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (
            ["ja", "nein", "nein"],
            r"which of its values 'nein' and 'ja' means 1 is not known.*--label click: 'ja' count",
        ),
        (
            [0, 1, 2],
            "'click' is named like a label, but holds 3 values where a label has two; columns with two values ",
        ),
    ],
)
def test_a_column_named_like_a_label_that_is_none_is_told_why(cells, told):
    frame = pl.DataFrame({"sex": ["m", "f"] * 45, "ad": [f"a{i % 7}" for i in range(90)], "click": cells * 30})
    with pytest.raises(SchemaError, match=told):
        infer(frame)


def test_numbers_are_likelier_a_label_than_words():
    frame = pl.DataFrame({"ad": ["a", "b", "c"] * 30, "label": ["T", "F", "F"] * 30, "click": [0, 1, 1] * 30})
    assert infer(frame).schema.labels[0].name == "click"


def test_a_wrong_label_suggests_the_nearest():
    frame = pl.DataFrame({"clicked": [0, 1] * 50, "b": ["x", "y"] * 50})
    with pytest.raises(SchemaError) as error:
        infer(frame, label="click")
    assert str(error.value) == "the label is to be 'click': no column named 'click'. Did you mean 'clicked'?"


def test_nothing_to_predict_from_is_said():
    with pytest.raises(SchemaError, match=r"from \(a: ignored: one value in the 10 rows looked at\)"):
        infer(pl.DataFrame({"a": [1] * 10, "click": [0, 1] * 5}))
    with pytest.raises(DataError, match="the table has no rows"):
        infer(pl.DataFrame({"click": []}))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_shuffled_label_raises_no_suspicion(frame, strength):
    shuffled = frame.with_columns(pl.col("click").shuffle(seed=int(strength)))
    assert "leak" not in {suspect.kind for suspect in infer(shuffled).suspects}


def test_a_label_of_several_numbers_is_told():
    frame = pl.DataFrame({"user": [f"u{i % 9}" for i in range(100)], "rating": [1, 2, 3, 4, 5] * 20})
    assert infer(frame, label="rating").reasons["rating"] == (
        "the label, as named; it holds 5 values where a label has two: 0 and 1"
    )
    for value in (0, 1):  # nothing can be learnt from it
        one = frame.with_columns(rating=pl.lit(value))
        assert infer(one, label="rating").reasons["rating"] == (
            "the label, as named; it holds one value where a label has two: 0 and 1"
        )
    two = frame.with_columns(rating=pl.col("rating") % 2)
    assert infer(two, label="rating").reasons["rating"] == "the label, as named"


def test_a_label_of_many_values_is_refused_with_the_likely_one():
    frame = pl.DataFrame({"user": [f"u{i}" for i in range(100)], "click": [0, 1] * 50})
    with pytest.raises(SchemaError) as error:
        infer(frame, label="user")
    assert str(error.value) == (
        "the label is to be 'user', which holds 100 values; a label has two. Did you mean 'click'?"
    )


def test_histories_of_a_small_text_log_are_found(tmp_path):
    """Few users, long histories: more values than cells, and still a list."""
    folder = ad_world(2_000, seed=3).write(tmp_path / "world", form="csv", wide=True)
    (past,) = propose(folder / "train.csv", "click").schema.behaviours
    assert (past.name, past.of) == ("past_ads", "ad_id")
    assert {side.name for side in past.sides} == {"past_categories", "past_gaps"}


@pytest.mark.parametrize("record", [{"x": 1}, {"x": None}])
def test_records_are_ignored_with_what_to_do(record):
    found = infer(
        pl.DataFrame({"click": [0, 1] * 20, "user": ["a", "b", "c", "d"] * 10, "where": [record] * 40}), label="click"
    )
    assert found.schema.ignored == ("where",)
    assert found.reasons["where"] == "ignored: a record in every cell; make a column of each of its parts"


def test_lists_in_brackets_are_left_out_and_told_and_vectors_are_not():
    """No reader of bags cuts brackets off: `[3, 7]` would be the values `[3` and ` 7]`."""
    rows = 200
    tags = [f"[{', '.join(str(i % 7 + k) for k in range(1 + i % 3))}]" for i in range(rows)]
    words = [f"['a{i % 5}', 'b']" if i % 2 else f"['a{i % 5}']" for i in range(rows)]
    image = [f"[{i % 3}.5, 0.25]" for i in range(rows)]
    table = pl.DataFrame({"tags": tags, "words": words, "image": image, "ad": ["a", "b"] * 100, "click": [0, 1] * 100})
    proposal = infer(table, label="click")
    assert {f.name: type(f) for f in proposal.schema.fields} == {"image": Multimodal, "ad": Categorical}
    told = {s.column: s.text for s in proposal.suspects if s.column in ("tags", "words")}
    assert set(told) == {"tags", "words"} and all("lists in brackets" in text for text in told.values())


@pytest.mark.parametrize(("no", "yes"), [(-1.0, 1.0), (1.0, 2.0)])
def test_labels_of_two_numbers_are_read_alike_however_they_are_written(no, yes, tmp_path):
    typed = pl.DataFrame({"ad": ["a", "b"] * 100, "click": [no, yes] * 100})
    (tmp_path / "log.csv").write_text("ad,click\n" + f"a,{no}\nb, {yes}\n" * 100)
    for proposed in (typed, pl.read_csv(tmp_path / "log.csv", infer_schema=False)):
        schema = infer(proposed, label="click").schema
        for rows in (typed, tmp_path / "log.csv"):
            _, store = Encoder.fit_encode(schema, rows, tmp_path / "rows")
            assert store.targets["labels"][:4, 0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "moment",
    ["2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00Z", " 2019-10-01", "2019-10-01 00:00:00.5", "2019-10-01 00:00"],
)
def test_times_that_are_proposed_are_read(moment, tmp_path):
    table = pl.DataFrame({"event_time": [moment] * 200, "ad": ["a", "b"] * 100, "click": [0, 1] * 100})
    table = table.with_columns(
        event_time=pl.when(pl.int_range(200) < 9).then(pl.lit("2019-10-02")).otherwise("event_time")
    )
    schema = infer(table, label="click").schema
    assert schema.time is not None
    _, store = Encoder.fit_encode(schema, table, tmp_path / "rows")
    assert store.targets["time"][-1] == pytest.approx(1569888000, abs=1)
    other = table.with_columns(event_time=pl.lit("2019-10-01 in the morning"))
    assert infer(other, label="click").schema.time is None


def test_a_column_that_cannot_be_read_is_ignored_with_its_reason(tmp_path):
    odd = {
        "span": (pl.Series([timedelta(seconds=i % 7) for i in range(90)]), "spans of time"),
        "hour": (pl.Series([time(i % 7) for i in range(90)]), "times of day"),
        "raw": (pl.Series([bytes([200, i % 7]) for i in range(90)]), "bytes that are not UTF-8 text"),
        "nested": (pl.Series([[[i % 7], [1]] for i in range(90)]), "a list of lists in every cell"),
        "records": (pl.Series([[{"a": i % 7}] for i in range(90)]), "a list of records in every cell"),
    }
    base = pl.DataFrame({"ad": [f"a{i % 10}" for i in range(90)], "click": [i % 3 == 0 for i in range(90)]})
    frame = base.with_columns(**{name: cells for name, (cells, _) in odd.items()})
    frame.write_parquet(tmp_path / "log.parquet")
    proposal = propose(tmp_path / "log.parquet", "click")
    assert set(proposal.schema.ignored) == set(odd) and proposal.schema.time is None
    texts = {suspect.column: suspect.text for suspect in proposal.suspects}
    for name, (_, what) in odd.items():
        assert proposal.reasons[name].startswith(f"ignored: {what}")
        assert texts[name].startswith(f"'{name}' holds {what}")
    Encoder.fit(proposal.schema, tmp_path / "log.parquet")


def test_dates_of_which_some_are_none_are_not_the_time():
    days = ["0000-00-00" if i % 9 == 0 else f"2024-01-0{i % 9}" for i in range(90)]
    frame = pl.DataFrame({"day": days, "ad": [f"a{i % 10}" for i in range(90)], "click": [i % 2 for i in range(90)]})
    proposal = infer(frame, label="click")
    assert proposal.schema.time is None and proposal.schema.ignored == ("day",)
    assert [s.text for s in proposal.suspects if s.column == "day"] == [
        "'day' holds dates, but 10 of 90 cells hold none, for example '0000-00-00', so it is not taken as the time. "
        "Empty or mend those cells."
    ]
