"""A few rows are read at once, equal cells once: each row must get what it gets alone."""

import enum
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.encode import few
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.texts import pack
from clicksmith.errors import DataError
from clicksmith.schema import Categorical, Label, Numeric, Schema


class Size(enum.StrEnum):
    """Texts that are more than texts."""

    SMALL = "s"


VALUES = ["u1", "u2", "1", "2", "true", "", "ä", "a\0b", "s", "204"]
TRAIN = pl.DataFrame(
    {
        "user": VALUES * 2,
        "item": VALUES[::-1] * 2,
        "blank": (["", "x"] * len(VALUES)),
        "price": [float(i) for i in range(2 * len(VALUES))],
        "count": list(range(2 * len(VALUES))),
        "click": [0, 1] * len(VALUES),
    }
)
SCHEMA = Schema(
    fields=(
        Categorical("user", role="user"),
        Categorical("item"),
        Categorical("blank", missing="unseen"),
        Numeric("price"),
        Numeric("count", scale="log", missing="refuse"),
    ),
    label=Label("click"),
)


def encoder() -> Encoder:
    return Encoder.fit(SCHEMA, TRAIN)


def row(**cells: Any) -> dict[str, Any]:
    return {"user": "u1", "item": "u2", "blank": "x", "price": 1.5, "count": 3, **cells}


def assert_each_as_alone(rows: list[dict[str, Any]]) -> None:
    fitted = encoder()
    together, alone = fitted.encode(rows), [fitted.encode(one) for one in rows]
    np.testing.assert_array_equal(together.ids, np.concatenate([one.ids for one in alone]))
    np.testing.assert_array_equal(together.numeric, np.concatenate([one.numeric for one in alone]))


@pytest.mark.parametrize("user", ["u1", "never", "", None, 1, 1.0, True, 204, "204.0", "True", Size.SMALL, "ä", "a\0b"])
def test_what_all_rows_have_is_what_each_has(kernels, user):
    assert_each_as_alone([row(user=user, item=item) for item in VALUES])


def test_equal_values_of_different_kinds_are_not_one_value(kernels):
    users = [1, True, 1.0, 1]
    assert_each_as_alone([row(user=user) for user in users])
    assert encoder().encode([row(user=user) for user in users]).ids[:, 0].tolist() == [
        int(encoder().encode(row(user=text)).ids[0, 0]) for text in ("1", "true", "1", "1")
    ]


@pytest.mark.parametrize("cells", [["", "", ""], ["x", "", None], [None, None, None], ["x", "x", "x"]])
def test_empty_cells_that_are_treated_as_unseen(kernels, cells):
    assert_each_as_alone([row(blank=cell) for cell in cells])
    found = encoder().encode([row(blank=cell) for cell in cells]).ids[:, 2]
    assert [int(i) == 1 for i in found] == [not cell for cell in cells]


@pytest.mark.parametrize("price", [2, 2.5, None, float("nan"), "2.5", " 7 ", "", True, np.float32(3.5), 10**18])
def test_numbers_of_every_kind_beside_plain_ones(kernels, price):
    assert_each_as_alone([row(price=1), row(price=price, count=7), row(price=-4.0)])


def test_a_number_too_large_for_a_float_is_named_with_its_row_and_column():
    with pytest.raises(DataError, match=r"^the rows row 2: column 'price' holds 1000000.* not a finite number"):
        encoder().encode([row(), row(price=10**400)])


def test_a_missing_number_that_must_be_there_is_named_with_its_row():
    with pytest.raises(DataError, match=r"^the rows row 3: column 'count' is empty"):
        encoder().encode([row(), row(), row(count=None)])


def test_the_order_of_a_rows_keys_does_not_matter(kernels):
    one, other = row(item="1", price=2), dict(reversed(row(item="2", price=3).items()))
    assert_each_as_alone([one, other])
    assert_each_as_alone([{"extra": 1, **one}, {**other, "extra": 2}])


def test_rows_of_different_columns_are_refused():
    lacking = row()
    del lacking["item"]
    for rows in ([row(), lacking], [lacking, row()], [row(), {**lacking, "itm": "1"}]):
        with pytest.raises(DataError, match=r"^row \d of the list has no 'ite?m'"):
            encoder().encode(rows)


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 100])
def test_shared_and_own_values_of_any_number_of_rows(kernels, count):
    rows = [row(user="u2", item=VALUES[i % 7] if i % 3 else "never", blank="" if i % 2 else "x") for i in range(count)]
    assert_each_as_alone(rows)
    assert_each_as_alone([{**one, "blank": ""} for one in rows])


def test_cells_of_odd_kinds_are_read_by_their_text(kernels):
    assert_each_as_alone([row(user=b"1"), row(user=b"1"), row(user=b"1", item=b"1")])


@pytest.mark.parametrize("cell", [np.array(["1", "2"]), ["1", "2"], ("1",), {"1": 2}])
def test_cells_of_several_values_are_refused_where_one_belongs(kernels, cell):
    for rows in ([row(user=cell)], [row(user=cell), row(user=cell)], [row(user=cell), row()]):
        with pytest.raises(DataError, match=r"row 1: column 'user' holds .*, where one value is expected\."):
            encoder().encode(rows)
    with pytest.raises(DataError, match=r"row 2: column 'item' holds "):
        encoder().encode([row(), row(item=cell)])


def test_a_frame_of_no_rows(kernels):
    encoded = encoder().encode(TRAIN[:0])
    assert encoded.ids.shape == (0, 3)
    assert encoded.numeric.shape == (0, 2)


def test_a_value_that_all_rows_have_is_looked_up_once(monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(few, "pack", lambda texts, joined: seen.append(len(texts)) or pack(texts, joined))
    if few.LIBRARY is None:
        pytest.skip("the kernels are not compiled on this machine")
    encoder().encode([row(item=item) for item in VALUES])
    assert seen == [2 + len(VALUES)]


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=6), max_size=12))
@settings(max_examples=200, deadline=None)
def test_packed_texts_come_back(texts):
    assert pack(texts).to_list() == texts
