"""Columns of which nearly nothing is known are named."""

import polars as pl
import pytest

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN
from clicksmith.encode.unseen import unmapped_notes, unseen_in, unseen_notes, unseen_shares
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Label
from clicksmith.schema.schema import Schema


@pytest.fixture
def encoder() -> Encoder:
    schema = Schema(
        fields=(Categorical("item"), Bag("tags")), behaviours=(Behaviour("past", of="item"),), label=Label("click")
    )
    rows = {"item": ["4", "5"] * 4, "tags": ["a|b"] * 8, "past": ["4"] * 8, "click": [0, 1] * 4}
    return Encoder.fit(schema, pl.DataFrame(rows))


def test_shares_leave_padding_out(encoder):
    rows = encoder.encode([{"item": "4", "tags": "a|z", "past": "4|9|9"}, {"item": "x", "tags": "", "past": ""}])
    assert unseen_shares(rows, encoder.layout) == {"item": 0.5, "tags": 0.5, "past": pytest.approx(2 / 3)}


def test_a_column_that_is_all_new_is_named_with_a_known_value(encoder):
    shares = unseen_shares(encoder.encode([{"item": "item-4", "tags": "a", "past": "4"}]), encoder.layout)
    assert unseen_notes(shares, encoder) == [
        "item: 100% of values unseen (0% in training, for example '4'); if they should be known, write them as in "
        "training."
    ]
    assert unseen_notes({"item": 0.9}, encoder) == []


def test_a_file_is_judged_by_rows_spread_over_it(encoder, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("item,tags,past\n" + "x4,a,4\n" * 50)
    assert [note.split(":")[0] for note in unseen_in(encoder, path)] == ["item"]
    path.write_text("item,tags\n1,a\n")
    assert unseen_in(encoder, path) == []  # scoring says what is missing


def test_of_ids_that_are_mapped_a_fifth_is_enough(encoder, tmp_path):
    rows = pl.DataFrame({"item": ["4"] * 7 + ["6"] * 3, "tags": ["z"] * 10, "past": ["4"] * 10, "click": [0, 1] * 5})
    store = encoder.encode_to(rows, tmp_path / "later")
    told = (
        "item: 30% of values unseen (0% in training), so that they share one row and not those of the Plan's map; "
        "find the map again on newer rows (`clicksmith plan fold-in` teaches them to a model that is trained)."
    )
    assert unmapped_notes(encoder, store, {"item"}) == [told]
    assert unmapped_notes(encoder, store, ()) == unmapped_notes(encoder, store, {"user"}) == []
    assert unseen_in(encoder, rows, {"item"})[0] == told
    assert unseen_notes({"item": 0.2}, encoder, {"item"}) == []
    assert "write them as in training" in unmapped_notes(encoder, store, {"tags"})[0]


def test_of_ids_that_are_mapped_as_many_unseen_as_in_training_are_none_of_the_day():
    schema = Schema(fields=(Categorical("item", min_count=2),), label=Label("click"))
    encoder = Encoder.fit(schema, pl.DataFrame({"item": [*"aaaaaabcde"], "click": [0, 1] * 5}))
    assert encoder.counts("item")[UNSEEN] == 4
    assert unseen_notes({"item": 0.55}, encoder, {"item"}) == []
    assert unseen_notes({"item": 0.65}, encoder, {"item"})[0].startswith("item: 65% of values unseen (40% in training)")
