from datetime import date, datetime, time, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from clicksmith.schema.profile import profile, profile_column


def test_kinds_are_told_from_typed_columns():
    frame = pl.DataFrame(
        {
            "integer": [1, 2, None],
            "number": [0.5, float("nan"), 2.0],
            "whole": [1.0, 2.0, None],
            "text": ["a", "", None],
            "flag": [True, False, None],
            "list": [[1, 2], [3], None],
            "vector": [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]],
            "empty": [None, None, None],
        }
    )
    found = {column.name: (column.kind, column.missing, column.unique) for column in profile(frame)}
    assert found == {
        "integer": ("integer", 1, 2),
        "number": ("number", 1, 2),
        "whole": ("integer", 1, 2),
        "text": ("text", 2, 1),
        "flag": ("flag", 1, 2),
        "list": ("list", 1, 3),
        "vector": ("vector", 0, 6),
        "empty": ("empty", 3, 0),
    }


def test_kinds_are_told_from_text():
    frame = pl.DataFrame(
        {
            "integer": ["1", "-2", ""],
            "number": ["1e3", "NA", ".5"],
            "code": ["007", "010", "1"],
            "flag": ["true", "False", ""],
            "date": ["2026-11-24", "2026-11-24 10:00", None],
            "bag": ["a|b", "b|a", "a"],
            "sentence": ["one fine day", "a rainy night", "another one"],
            "vector": ["[0.1, 0.2]", "[1, 2]", "[3, 4]"],
        }
    )
    assert {column.name: column.kind for column in profile(frame)} == {
        "integer": "integer",
        "number": "number",
        "code": "integer",
        "flag": "flag",
        "date": "date",
        "bag": "list",
        "sentence": "text",
        "vector": "vector",
    }
    assert profile_column(frame["code"]).leading_zeros
    assert profile_column(frame["bag"]).separator == "|"


@given(st.lists(st.one_of(st.none(), st.integers(-1000, 1000)), min_size=1, max_size=60))
def test_counts_agree_with_counting_by_hand(values):
    column = profile_column(pl.Series("x", values, dtype=pl.Int64))
    there = [value for value in values if value is not None]
    assert (column.rows, column.missing, column.unique) == (len(values), len(values) - len(there), len(set(there)))
    if there:
        assert (column.quantiles[0], column.quantiles[-1]) == (min(there), max(there))
        assert column.top[0][1] == max(there.count(value) for value in there)


def test_what_no_column_can_hold_is_told_and_not_an_error():
    frame = pl.DataFrame(
        {
            "span": [timedelta(seconds=1), None],
            "hour": [time(1), time(2)],
            "raw": [b"\xc8", b"a"],
            "text": [b"a", b"a"],
            "nested": [[[1], [2]], [[3]]],
            "records": [[{"a": 1}], [{"a": 2}]],
            "spans": [[timedelta(seconds=1)], []],
            "raws": [[b"\xc8"], [b"a"]],
            "day": [date(2024, 1, 1), None],
            "moment": [datetime(2024, 1, 1), None],
            "zero": ["2024-01-01", "0000-00-00"],
            "nothing": pl.Series([None, None], dtype=pl.Duration),
        }
    )
    found = {column.name: column.kind for column in profile(frame)}
    others = ("span", "hour", "raw", "nested", "records", "spans", "raws", "zero")
    dates = {"day": "date", "moment": "date", "text": "text", "nothing": "empty"}
    assert found == dict.fromkeys(others, "other") | dates
