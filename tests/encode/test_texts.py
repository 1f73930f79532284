"""One value gives one id, however it is written: in a CSV, in a frame as int, float, bool or text, in a dict."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.source import open_source
from clicksmith.encode.texts import canonical, texts_of
from clicksmith.errors import DataError
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Label, Multimodal, Numeric
from clicksmith.schema.schema import Schema

TEXT = st.one_of(
    st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["True", "False", "true", "TRUE", "-0.0", "0.0", "007.0", "", ".0", "-.0", "1e3", "v1.0", "Frue"]),
    st.text("0.-Taé", max_size=6),
)


@given(st.lists(TEXT, min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_the_three_forms_of_cells_are_read_alike(texts):
    places = canonical(texts_of(texts))
    listed = canonical(texts)
    assert [places[i] for i in range(len(texts))] == listed
    assert canonical(pl.Series(texts, dtype=pl.String)).to_list() == listed


def test_whole_numbers_and_truth_have_one_text_and_nothing_else_changes():
    read = {"204.0": "204", "-3.0": "-3", "0.0": "0", "-0.0": "0", "True": "true", "False": "false"}
    kept = ["204", "2.50", "007.0", "1e3", "v1.0", ".0", "1.00", "TRUE", "", "12345678901234567890.0"]
    assert canonical([*read, *kept]) == [*read.values(), *kept]
    assert canonical([None, "1.0"]) == [None, "1"]


SCHEMA = Schema(
    fields=(Categorical("user"), Categorical("seen"), Bag("tags")),
    behaviours=(Behaviour("past", of="user"),),
    label=Label("click"),
)


@given(st.lists(st.integers(-(2**53), 2**53), min_size=4, max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_csv_and_frames_of_any_kind_give_the_same_ids(tmp_path_factory, users):
    rest = {"seen": [i % 2 == 0 for i in range(len(users))], "click": [i % 2 for i in range(len(users))]}
    lists = {"tags": [f"{u}|7" for u in users], "past": [f"{u}|{users[0]}" for u in users]}
    floats = {"tags": [f"{u}.0|7.0" for u in users], "past": [f"{u}.0|{users[0]}" for u in users]}
    folder = tmp_path_factory.mktemp("logs")
    ints = pl.DataFrame({"user": users} | rest | lists)
    texts = pl.DataFrame(
        {"user": [f"{u}.0" for u in users], "seen": [str(x) for x in rest["seen"]], "click": rest["click"]} | floats
    )
    texts.write_csv(folder / "log.csv")
    ints.write_csv(folder / "ints.csv")
    encoder = Encoder.fit(SCHEMA, folder / "log.csv")
    want = encoder.encode(ints)
    assert (want.ids > 1).all()
    assert (want.histories["past"][:, -2:] > 1).all()
    tried = [
        next(encoder.stream(open_source(folder / "log.csv"))),
        next(encoder.stream(open_source(folder / "ints.csv"))),
        encoder.encode(ints.with_columns(pl.col("user").cast(pl.Float64))),
        encoder.encode(texts),
        encoder.encode(texts.to_dicts()),
        encoder.encode(ints.to_dicts()),
        encoder.encode(pl.concat([texts] * 300)),
    ]
    for rows in tried:
        assert (rows.ids[: len(users)] == want.ids).all()
        assert (rows.bags["tags"][: len(users)] == want.bags["tags"]).all()
        assert (rows.histories["past"][: len(users)] == want.histories["past"]).all()
    assert Encoder.fit(SCHEMA, ints).values("user") == encoder.values("user")


def test_a_label_keeps_its_words(tmp_path):
    """A label's text is never rewritten: its positive word is what the file holds."""
    path = tmp_path / "log.csv"
    path.write_text("user,click\n1.0,2.0\n2,1.0\n")
    schema = Schema(fields=(Categorical("user"),), label=Label("click", positive="2.0"))
    rows = Encoder.fit(schema, path).encode(pl.read_csv(path, infer_schema=False), labels=True)
    assert rows.labels is not None
    assert rows.labels[:, 0].tolist() == pytest.approx([1, 0])


def test_bytes_are_utf8_text_in_every_form(tmp_path):
    texts = pl.DataFrame(
        {"user": ["u1", "é", None], "seen": ["a", "b", "a"], "tags": ["x|y", None, "y"], "past": ["u1", "u1|é", None]}
    ).with_columns(click=pl.Series([1, 0, 1]))
    raw = texts.with_columns(pl.col(pl.String).cast(pl.Binary))
    lists = texts.with_columns(pl.col("tags", "past").str.split("|").cast(pl.List(pl.Binary)))
    raw.write_parquet(tmp_path / "raw.parquet")
    encoder = Encoder.fit(SCHEMA, open_source(tmp_path / "raw.parquet"))
    assert encoder.values("user") == Encoder.fit(SCHEMA, texts).values("user")
    want = encoder.encode(texts)
    for data in (raw, raw.to_dicts(), raw.to_pandas(), lists, lists.to_dicts()):
        found = encoder.encode(data)
        assert found.ids.tolist() == want.ids.tolist() and found.bags["tags"].tolist() == want.bags["tags"].tolist()


@pytest.mark.parametrize("rows", [list, pl.DataFrame])
@pytest.mark.parametrize(
    ("column", "cells"),
    [("user", [b"a", b"\xc8"]), ("tags", [b"a", b"\xc8"]), ("tags", [[b"a", b"b"], [b"\xc8"]])],
)
def test_bytes_that_are_no_text_are_refused_with_their_row(rows, column, cells):
    encoder = Encoder.fit(SCHEMA, pl.DataFrame({"user": "a", "seen": "b", "tags": "a", "past": "a", "click": [0, 1]}))
    data = [{"user": "a", "seen": "b", "tags": "a", "past": "a"} | {column: cell} for cell in cells]
    with pytest.raises(DataError, match=rf"row 2: column '{column}' holds b'\\xc8', which is not UTF-8 text\. Write "):
        encoder.encode(rows(data))


def test_bytes_are_numbers_as_text_is():
    schema = Schema(fields=(Numeric("x"),), label=Label("click"))
    raw = pl.DataFrame({"x": [b"1.5", b"", None, b" 3 "], "click": [0, 1, 0, 1]})
    text = raw.with_columns(pl.col("x").cast(pl.String))
    encoder = Encoder.fit(schema, text)
    want = encoder.encode(text).numeric
    for data in (raw, raw.to_dicts()):
        assert np.array_equal(encoder.encode(data).numeric, want, equal_nan=True)


@pytest.mark.parametrize("form", [list, pl.DataFrame])
def test_a_vector_of_one_number_may_be_a_list_its_text_or_the_number(form):
    schema = Schema(fields=(Multimodal("v", dim=1),), label=Label("click"))
    encoder = Encoder.fit(schema, pl.DataFrame({"v": [[0.5], [2.0], None], "click": [0, 1, 1]}))
    for cells in ([[0.5], [2.0], None], ["[0.5]", "[2.0]", ""], ["0.5", "2.0", "NA"], [0.5, 2.0, None]):
        found = encoder.encode(form([{"v": cell} for cell in cells]))
        assert found.vectors["v"].tolist() == [[0.5], [2.0], [0.0]]
    with pytest.raises(DataError, match=r"row 2: column 'v' holds a vector of 2 numbers; its schema says dim=1"):
        encoder.encode(form([{"v": [1.0]}, {"v": [1.0, 2.0]}]))
