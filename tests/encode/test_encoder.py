"""Encoding against a loop over dicts, on the bulk path and row by row."""

import math
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clicksmith.encode.encoder import Encoder
from clicksmith.errors import DataError, SchemaError
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Multimodal, Numeric, Schema, Side, Time


def naive_ids(train: list[str], values: list[str], min_count: int = 1, missing: str = "value") -> list[int]:
    counts = Counter(v for v in train if v or missing == "value")
    kept = sorted((v for v, c in counts.items() if c >= min_count), key=lambda v: (-counts[v], v.encode()))
    ids = {v: i + 2 for i, v in enumerate(kept)}
    return [ids.get(v, 1) if v or missing == "value" else 1 for v in values]


def naive_text(value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        named = {"True": "true", "False": "false", "-0.0": "0"}.get(value, value)
        return named[:-2] if re.fullmatch(r"-?(0|[1-9][0-9]{0,18})\.0", named) else named
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(click=pl.int_range(pl.len()) % 2)


CELLS = st.one_of(
    st.none(),
    st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=12),
    st.sampled_from(["a", "b", "ab", "a\x00", "", " ", "ä", "12345678", "123456789", "123456789abcdefgh"]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    train=st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=40),
    other=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    min_count=st.integers(1, 3),
    missing=st.sampled_from(["value", "unseen"]),
)
def test_bulk_equals_row_by_row_equals_a_loop_over_dicts(kernels, train, other, min_count, missing):
    schema = Schema(
        fields=(Categorical("x", min_count=min_count, missing=missing), Categorical("y")), label=Label("click")
    )
    kinds = {"x": pl.String, "y": pl.String}
    frame = labelled(pl.DataFrame(train, schema=kinds, orient="row"))
    encoder = Encoder.fit(schema, frame)
    rest = pl.DataFrame(other, schema=kinds, orient="row")
    for rows in (frame, rest):
        big = pl.concat([rows] * (2000 // len(rows) + 1))
        bulk = encoder.encode(big)
        few = encoder.encode(rows)
        single = [encoder.encode(row) for row in rows.to_dicts()]
        for c, name in enumerate("xy"):
            texts = [naive_text(v) for v in rows[name]]
            told = missing if name == "x" else "value"
            expected = naive_ids([naive_text(v) for v in frame[name]], texts, min_count if name == "x" else 1, told)
            assert few.ids[:, c].tolist() == expected
            assert bulk.ids[: len(rows), c].tolist() == expected
            assert [int(one.ids[0, c]) for one in single] == expected
    counts = encoder.counts("x")
    assert counts.sum() == len(train) and counts[0] == 0
    ids = encoder.encode(frame).ids[:, 0]
    assert counts.tolist() == np.bincount(ids, minlength=len(counts)).tolist()


def test_ids_are_numbered_by_falling_frequency_ties_by_value(kernels):
    frame = labelled(pl.DataFrame({"x": ["b", "c", "c", "a", "z", "z", "z", None]}))
    encoder = Encoder.fit(Schema(fields=(Categorical("x"),), label=Label("click")), frame)
    assert encoder.values("x") == ["z", "c", "", "a", "b"]
    assert encoder.counts("x").tolist() == [0, 0, 3, 2, 1, 1, 1]
    assert encoder.layout.rows == {"x": 7}


def test_max_size_keeps_the_most_frequent_and_counts_the_rest_as_unseen(kernels):
    frame = labelled(pl.DataFrame({"x": ["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d"]}))
    encoder = Encoder.fit(Schema(fields=(Categorical("x", max_size=2),), label=Label("click")), frame)
    assert encoder.values("x") == ["a", "b"] and encoder.counts("x").tolist() == [0, 3, 4, 3]
    assert encoder.encode([{"x": "c"}]).ids.tolist() == [[1]]


@pytest.mark.parametrize("base", [2**24, 2**31, 2**53, 2**62])
def test_large_ids_keep_their_own_rows(kernels, tmp_path, base):
    ids = [base, base + 1, base + 2, base + 3]
    schema = Schema(fields=(Categorical("x"),), label=Label("click"))
    frame = labelled(pl.DataFrame({"x": ids}))
    frame.write_csv(tmp_path / "x.csv")
    frame.write_parquet(tmp_path / "x.parquet")
    for data in (frame, tmp_path / "x.csv", tmp_path / "x.parquet"):
        encoder = Encoder.fit(schema, data)
        assert encoder.layout.rows == {"x": 6}
        assert encoder.encode([{"x": i} for i in ids]).ids[:, 0].tolist() == [2, 3, 4, 5]


def test_a_pandas_column_of_integers_with_holes_gives_the_integers(kernels):
    import pandas as pd

    frame = pd.DataFrame({"x": [3.0, float("nan"), 3.0, 16777217.0], "click": [0, 1, 0, 1]})
    encoder = Encoder.fit(Schema(fields=(Categorical("x"),), label=Label("click")), frame)
    assert encoder.values("x") == ["3", "", "16777217"]
    assert encoder.encode({"x": 3}).ids.tolist() == encoder.encode({"x": "3"}).ids.tolist() == [[2]]


@pytest.mark.parametrize("values", [[True, False, None], [1.5, -0.0, 1e20, math.nan], [7, -7, 0]])
def test_any_type_of_value_gives_one_text_everywhere(kernels, values):
    frame = labelled(pl.DataFrame({"x": values}, strict=False))
    encoder = Encoder.fit(Schema(fields=(Categorical("x"),), label=Label("click")), frame)
    bulk = encoder.encode(pl.concat([frame] * 1000)).ids[: len(values), 0]
    assert bulk.tolist() == [int(encoder.encode({"x": v}).ids[0, 0]) for v in values]
    assert 1 not in bulk


def test_a_shared_vocabulary_counts_all_its_columns(kernels):
    schema = Schema(fields=(Categorical("a", min_count=2), Categorical("b", share="a")), label=Label("click"))
    frame = labelled(pl.DataFrame({"a": ["x", "y", "y"], "b": ["x", "q", None]}))
    encoder = Encoder.fit(schema, frame)
    assert encoder.values("a") == ["x", "y"] and encoder.counts("a").tolist() == [0, 2, 2, 2]
    assert encoder.encode(frame).ids.tolist() == [[2, 2], [3, 1], [3, 1]]
    assert [slot.name for slot in encoder.layout.slots] == ["a"]


def test_buckets_hash_every_value_into_range_and_are_the_same_everywhere(kernels):
    schema = Schema(fields=(Categorical("x", buckets=5, missing="unseen"),), label=Label("click"))
    values = ["a", "b", "12345678", "123456789", "a", None]
    frame = labelled(pl.DataFrame({"x": values}))
    encoder = Encoder.fit(schema, frame)
    ids = encoder.encode(frame).ids[:, 0]
    bulk = encoder.encode(pl.concat([frame] * 400)).ids[:6, 0]
    assert encoder.layout.rows == {"x": 7} and ids.tolist() == bulk.tolist() and ids[5] == 1
    assert ((ids[:5] >= 2) & (ids[:5] < 7)).all() and ids[0] == ids[4]
    assert encoder.counts("x").tolist() == np.bincount(ids, minlength=7).tolist()
    never_seen = encoder.encode({"x": "new"}).ids[0, 0]
    assert 2 <= never_seen < 7


def test_standard_and_log_scales_equal_the_formula_in_bulk_and_alone(kernels):
    values = [1.0, 2.0, None, -5.0, 1e9]
    fields = (Numeric("s"), Numeric("l", scale="log"), Numeric("r", scale="raw"), Numeric("m", missing="mean"))
    schema = Schema(fields=(*fields, Numeric("z", missing="zero")), label=Label("click"))
    frame = labelled(pl.DataFrame(dict.fromkeys("slrmz", values)))
    encoder = Encoder.fit(schema, frame)
    x = np.array([v for v in values if v is not None])
    bent = np.sign(x) * np.log1p(np.abs(x))
    got = encoder.encode(frame).numeric
    there = [0, 1, 3, 4]
    np.testing.assert_allclose(got[there, 0], (x - x.mean()) / x.std(), rtol=1e-6)
    np.testing.assert_allclose(got[there, 1], (bent - bent.mean()) / bent.std(), rtol=1e-6)
    np.testing.assert_allclose(got[there, 2], x, rtol=1e-7)
    assert np.isnan(got[2, :3]).all() and got[2, 3] == 0.0
    np.testing.assert_allclose(got[2, 4], -x.mean() / x.std(), rtol=1e-6)
    alone = np.concatenate([encoder.encode(row).numeric for row in frame.to_dicts()])
    np.testing.assert_array_equal(alone, got)
    np.testing.assert_array_equal(encoder.encode(pl.concat([frame] * 300)).numeric[:5], got)


def test_log_square_is_the_rule_of_bars(kernels):
    schema = Schema(fields=(Numeric("x", scale="log_square", missing="zero"),), label=Label("click"))
    values = [None, 0, 1, 2, 2.9, 3, 100, 1_000_000, -3, 0.7]
    encoder = Encoder.fit(schema, labelled(pl.DataFrame({"x": values}, strict=False)))
    rule = [0 if v is None else math.floor(math.log(v) ** 2) if v > 2 else int(v) for v in values]
    expected = naive_ids([str(v) for v in rule], [str(v) for v in rule])
    assert encoder.encode([{"x": v} for v in values]).ids[:, 0].tolist() == expected
    assert encoder.encode({"x": 1e30}).ids.tolist() == [[1]]


def test_quantile_bins_hold_equal_counts(kernels):
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000) * 1000
    frame = labelled(pl.DataFrame({"x": [*values.tolist(), None]}))
    encoder = Encoder.fit(Schema(fields=(Numeric("x", scale="quantile", bins=8),), label=Label("click")), frame)
    counts = encoder.counts("x")[2:]
    assert len(counts) == 9 and counts.min() == 1  # eight bins and the missing one
    assert np.abs(counts[:8] - 500).max() <= 10
    ids = encoder.encode(frame).ids[:, 0]
    assert np.bincount(ids)[2:].tolist() == counts.tolist()
    order = np.argsort(values)
    assert (np.diff(ids[:4000][order]) != 0).sum() == 7


def test_bags_are_padded_at_the_end_and_cut_to_the_first(kernels):
    schema = Schema(fields=(Bag("tags", max_length=3),), label=Label("click"))
    text = labelled(pl.DataFrame({"tags": ["a|b", "", "b|a|b|c", "|a|"]}))
    lists = labelled(pl.DataFrame({"tags": [["a", "b"], None, ["b", "a", "b", "c"], ["", "a", ""]]}))
    expected = [[3, 2, 0], [0, 0, 0], [2, 3, 2], [3, 0, 0]]
    for frame in (text, lists):
        encoder = Encoder.fit(schema, frame)
        assert encoder.values("tags")[:2] == ["a", "b"] or encoder.values("tags")[:2] == ["b", "a"]
        a, b = (encoder.values("tags").index(v) + 2 for v in "ab")
        wanted = np.array(expected)
        wanted = np.where(wanted == 3, a, np.where(wanted == 2, b, 0))
        assert encoder.encode(frame).bags["tags"].tolist() == wanted.tolist()
        assert encoder.encode(pl.concat([frame] * 300)).bags["tags"][:4].tolist() == wanted.tolist()
    assert encoder.counts("tags").sum() == 6  # what was cut off is not counted


@pytest.mark.parametrize("newest", ["last", "first"])
def test_histories_keep_the_newest_padded_at_the_front(kernels, tmp_path, newest):
    schema = Schema(
        fields=(Categorical("item"), Categorical("cat")),
        behaviours=(
            Behaviour("clicks", of="item", max_length=3, newest=newest, sides=(Side("cats", of="cat"), Side("gaps"))),
        ),
        label=Label("click"),
    )

    def turn(text: str) -> str:
        return text if newest == "last" else "|".join(reversed(text.split("|")))

    rows = {
        "item": ["i", "j", "k", "l"],
        "cat": ["c", "d", "c", "d"],
        "clicks": [turn(t) for t in ("i|j|k|l", "k", "", "l|nowhere")],
        "cats": [turn(t) for t in ("c|d|c|d", "c", "", "d|e")],
        "gaps": [turn(t) for t in ("1|2|3|4", "1", "", "2|9")],
    }
    frame = labelled(pl.DataFrame(rows))
    frame.write_csv(tmp_path / "log.csv")
    encoder = Encoder.fit(schema, tmp_path / "log.csv")
    ids = {v: i + 2 for i, v in enumerate(encoder.values("item"))}
    cats = {v: i + 2 for i, v in enumerate(encoder.values("cat"))}
    got = encoder.encode(frame)
    assert got.owner is None
    items = got.histories["clicks"][:, :, 0].tolist()
    assert items == [[ids["j"], ids["k"], ids["l"]], [0, 0, ids["k"]], [0, 0, 0], [0, ids["l"], ids["nowhere"]]]
    assert got.histories["clicks"][0, :, 1].tolist() == [cats["d"], cats["c"], cats["d"]]
    layout = encoder.layout.histories[0]
    assert [(c.name, c.slot, c.of) for c in layout.columns] == [
        ("clicks", "item", "item"), ("cats", "cat", "cat"), ("gaps", "gaps", None)
    ]  # fmt: skip
    bulk = encoder.encode(pl.concat([frame] * 300))
    stored = encoder.encode_to(tmp_path / "log.csv", tmp_path / "rows").slice(0, 4)
    lists = encoder.encode(
        frame.with_columns(pl.col("clicks", "cats", "gaps").str.split("|").list.filter(pl.element() != ""))
    )
    for other in (bulk, stored, lists):
        assert other.histories["clicks"][:4].tolist() == got.histories["clicks"].tolist()


def test_behaviours_of_unequal_length_are_refused(kernels):
    schema = Schema(
        fields=(Categorical("item"),),
        behaviours=(Behaviour("clicks", of="item", sides=(Side("gaps"),)),),
        label=Label("click"),
    )
    frame = pl.DataFrame({"item": ["a", "b"], "clicks": ["a|b", "a"], "gaps": ["1|2", "1|2"], "click": [0, 1]})
    with pytest.raises(DataError, match="the frame row 2: 'clicks' has 1 behaviours and 'gaps', which goes with it, 2"):
        Encoder.fit(schema, frame)


def test_vectors_come_from_arrays_text_and_columns(kernels):
    single = Schema(fields=(Multimodal("v", dim=2),), label=Label("click"))
    several = Schema(fields=(Multimodal("v", dim=2, columns=("p", "q")),), label=Label("click"))
    arrays = labelled(pl.DataFrame({"v": [[1.0, 2.0], None, [3.0, 4.0]]}))
    text = labelled(pl.DataFrame({"v": ["[1, 2]", None, "3 4"]}))
    columns = labelled(pl.DataFrame({"p": [1, None, 3], "q": [2, None, 4]}))
    for schema, frame in ((single, arrays), (single, text), (several, columns)):
        encoder = Encoder.fit(schema, frame)
        assert encoder.encode(frame).vectors["v"].tolist() == [[1, 2], [0, 0], [3, 4]]
        assert encoder.encode(pl.concat([frame] * 500)).vectors["v"][:3].tolist() == [[1, 2], [0, 0], [3, 4]]
    with pytest.raises(
        DataError, match="the rows row 1: column 'v' holds a vector of 3 numbers; its schema says dim=2"
    ):
        Encoder.fit(single, arrays).encode({"v": [1, 2, 3]})


def test_domain_group_time_and_weight_are_read(kernels):
    schema = Schema(
        fields=(Categorical("user"),), label=Label("click"), group="user", domain="place", time=Time("at", unit="text"),
        weight="w",
    )  # fmt: skip
    rows = {"user": ["u", "v", "u"], "place": ["p", "q", "q"], "at": ["1970-01-01T00:00:10", "1970-01-02", ""]}
    frame = pl.DataFrame(rows | {"w": [1.0, 2.0, 0.5], "click": [0, 1, 1]})
    encoder = Encoder.fit(schema, frame)
    got = encoder.encode(frame, labels=True)
    assert got.domain.tolist() == [3, 2, 2] and encoder.layout.domains == 4
    assert got.group[0] == got.group[2] != got.group[1] and (got.group >= 0).all()
    assert got.time[:2].tolist() == [10.0, 86400.0] and math.isnan(got.time[2])
    assert got.weight.tolist() == [1.0, 2.0, 0.5] and got.labels.tolist() == [[0], [1], [1]]
    scored = encoder.encode({"user": "x", "place": "nowhere"})
    assert scored.labels is None and scored.group is None and scored.domain.tolist() == [1]


def test_every_value_unseen_and_no_label_still_encodes(kernels):
    schema = Schema(fields=(Categorical("a"), Numeric("n")), label=Label("click"))
    encoder = Encoder.fit(schema, labelled(pl.DataFrame({"a": ["x", "y"], "n": [1, 2]})))
    got = encoder.encode(pl.DataFrame({"extra": [0], "n": [None], "a": ["new"]}))
    assert got.ids.tolist() == [[1]] and np.isnan(got.numeric).all()
    assert len(encoder.encode(pl.DataFrame({"a": [], "n": []}))) == 0


def test_words_as_labels(kernels):
    schema = Schema(fields=(Categorical("a"),), label=Label("bought", positive="yes"))
    frame = pl.DataFrame({"a": ["x", "y", "z"], "bought": ["yes", "no", "maybe"]})
    assert Encoder.fit(schema, frame).encode(frame, labels=True).labels.tolist() == [[1], [0], [0]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELLS, st.one_of(st.none(), st.floats(-1e12, 1e12))), min_size=8, max_size=40),
    cut=st.integers(2, 4),
)
def test_merging_parts_equals_fitting_the_whole(kernels, rows, cut):
    fields = (
        Categorical("a", min_count=2, max_size=3),
        Numeric("n", scale="log"),
        Numeric("q", scale="quantile", bins=3),
    )
    schema = Schema(fields=(*fields, Numeric("s"), Categorical("b", share="a")), label=Label("click"))
    frame = pl.DataFrame(rows, schema={"a": pl.String, "n": pl.Float64}, orient="row")
    frame = labelled(frame.with_columns(q=pl.col("n"), s=pl.col("n"), b=pl.col("a").reverse()))
    whole = Encoder.fit(schema, frame)
    one, two, three = (
        Encoder.fit(schema, p) for p in (frame[:cut], frame[cut : cut + 2], frame[cut + 2 :].extend(frame[:0]))
    )
    left, right = one.merge(two).merge(three), one.merge(two.merge(three))
    assert left.digest == right.digest == whole.digest
    assert left.fitted.scales == whole.fitted.scales
    for slot in ("a", "q"):
        assert left.counts(slot).tolist() == whole.counts(slot).tolist()


def test_encoders_of_different_schemas_do_not_merge():
    frame = labelled(pl.DataFrame({"a": ["x", "y"]}))
    one = Encoder.fit(Schema(fields=(Categorical("a"),), label=Label("click")), frame)
    two = Encoder.fit(Schema(fields=(Categorical("a", min_count=2),), label=Label("click")), frame)
    with pytest.raises(SchemaError, match=r"encoders of different schemas cannot be merged; fit both with one schema."):
        one.merge(two)


def test_extending_keeps_old_ids_and_appends_new_ones(kernels):
    schema = Schema(fields=(Categorical("a", min_count=2), Numeric("n")), label=Label("click"))
    old_rows = labelled(pl.DataFrame({"a": ["x", "x", "y", "y", "y", "rare"], "n": [1, 2, 3, 4, 5, 6]}))
    new_rows = labelled(pl.DataFrame({"a": ["z"] * 5 + ["rare", "new"] + ["x"] * 9, "n": list(range(16))}))
    old = Encoder.fit(schema, old_rows)
    new = old.extend(new_rows)
    assert old.values("a") == ["y", "x"] and new.values("a") == ["y", "x", "z", "rare"]
    assert new.counts("a").tolist() == [0, 1, 3, 11, 5, 2]
    assert new.fitted.scales == old.fitted.scales and new.rows == 22
    np.testing.assert_array_equal(new.encode(old_rows).numeric, old.encode(old_rows).numeric)
    assert new.encode(old_rows).ids[:5].tolist() == old.encode(old_rows).ids[:5].tolist()
    assert old.encode({"a": "z", "n": 1}).ids.tolist() == [[1]]


def test_numeric_buckets_extend_without_moving(kernels):
    schema = Schema(fields=(Numeric("n", scale="log_square"),), label=Label("click"))
    old = Encoder.fit(schema, labelled(pl.DataFrame({"n": [1, 1, 2]})))
    new = old.extend(labelled(pl.DataFrame({"n": [0, 0, 0, 2]})))
    assert old.values("n") == ["1", "2"] and new.values("n") == ["1", "2", "0"]
    assert new.encode([{"n": 1}, {"n": 2}, {"n": 0}]).ids[:, 0].tolist() == [2, 3, 4]


def test_an_absent_column_is_named_with_its_nearest_neighbour():
    schema = Schema(fields=(Categorical("user_id"), Categorical("item")), label=Label("click"))
    encoder = Encoder.fit(schema, labelled(pl.DataFrame({"user_id": ["x", "y"], "item": ["a", "b"]})))
    expected = (
        "the rows: no column named 'user_id'. Did you mean 'userid'? The schema declares it: rename the column, add it "
        "(with empty cells where it is not known), or change the schema."
    )
    with pytest.raises(DataError) as error:
        encoder.encode({"userid": "x", "item": "a"})
    assert str(error.value) == expected
    with pytest.raises(DataError, match="row 2 of the list has no 'item', which other rows have"):
        encoder.encode([{"user_id": 1, "item": 2}, {"user_id": 1}])


def test_text_in_a_number_is_refused_with_row_and_value():
    schema = Schema(fields=(Numeric("price"),), label=Label("click"))
    encoder = Encoder.fit(schema, labelled(pl.DataFrame({"price": [1.0, 2.0]})))
    message = (
        "the rows row 2: column 'price' holds 'cheap', which is not a finite number. Clean the file, leave the cell "
        'empty if the number is missing, or declare Categorical("price").'
    )
    with pytest.raises(DataError) as error:
        encoder.encode([{"price": "1e3"}, {"price": "cheap"}])
    assert str(error.value) == message
    for bad in (math.inf, "inf", "1_000", [1]):
        with pytest.raises(DataError, match="which is not a finite number"):
            encoder.encode({"price": bad})
    assert np.isnan(encoder.encode([{"price": v} for v in (None, "", " NaN ", "NA")]).numeric).all()
    strict = Schema(fields=(Numeric("price", missing="refuse"),), label=Label("click"))
    with pytest.raises(
        DataError, match="the frame row 2: column 'price' is empty, and its schema says missing=\"refuse\""
    ):
        Encoder.fit(strict, pl.DataFrame({"price": [1.0, None], "click": [0, 1]}))


def test_extending_counts_new_numbers_in_the_old_buckets():
    """Counts after `extend` are how often rows fall into each bucket, at the edges that were fitted."""
    draw = np.random.default_rng(3)
    schema = Schema(fields=(Numeric("x", scale="quantile", bins=5),), label=Label("click"))

    def rows(low: float) -> pl.DataFrame:
        return pl.DataFrame({"x": low + draw.random(500), "click": np.arange(500) % 2})

    first, more = rows(0.0), rows(0.4)
    encoder = Encoder.fit(schema, first).extend(more)
    ids = encoder.encode(pl.concat([first, more])).ids[:, 0]
    counted = encoder.counts("x")
    met = np.bincount(ids, minlength=len(counted))
    assert np.abs(counted - met).max() <= 2  # a value may share its 12 bits with an edge


@pytest.mark.parametrize("scale", ["standard", "log", "raw"])
def test_a_stray_number_is_cut_alike_in_training_and_serving(scale, tmp_path):
    """1e30 is encoded to something that a model can square, and by the same code for a file and a row."""
    schema = Schema(fields=(Numeric("x", scale=scale),), label=Label("click"))
    encoder = Encoder.fit(schema, pl.DataFrame({"x": [1.0, 2.0, 4.0], "click": [0, 1, 0]}))
    served = encoder.encode([{"x": 1e30}, {"x": -1e30}, {"x": 3.0}]).numeric[:, 0]
    (tmp_path / "log.csv").write_text("x\n1e30\n-1e30\n3\n")
    (streamed,) = encoder.stream(tmp_path / "log.csv")
    assert streamed.numeric[:, 0].tolist() == served.tolist()
    assert np.isfinite(served * served).all()
    assert served[0] > served[2] > served[1]


def test_missing_lists_of_pandas_are_empty_in_few_rows_and_in_many():
    pandas = pytest.importorskip("pandas")
    schema = Schema(fields=(Bag("tags", separator="|"),), label=Label("click"))
    frame = pandas.DataFrame({"tags": ["a|b", None, "b"] * 600, "click": [0, 1, 1] * 600}).convert_dtypes()
    encoder = Encoder.fit(schema, frame)
    many, few = encoder.encode(frame).bags["tags"], encoder.encode(frame.head(9)).bags["tags"]
    np.testing.assert_array_equal(few, many[:9])
    assert not few[1].any()


def test_one_huge_number_does_not_end_a_fit():
    for huge in (1e200, -1.797e308):
        frame = pl.DataFrame({"x": [huge, 1.0, 2.0, 3.0], "click": [0, 1, 0, 1]})
        encoder = Encoder.fit(Schema(fields=(Numeric("x"),), label=Label("click")), frame)
        found = encoder.encode(frame).numeric[:, 0]
        assert np.isfinite(found).all() and abs(found[0]) > 1 > abs(found[1])


def test_half_an_emoji_is_a_value_like_any_other_that_was_not_seen():
    schema = Schema(fields=(Categorical("ad"),), label=Label("click"))
    encoder = Encoder.fit(schema, pl.DataFrame({"ad": ["a", "b"], "click": [0, 1]}))
    rows = [{"ad": "a"}, {"ad": "\ud83d"}, {"ad": "b"}]
    assert encoder.encode(rows).ids[:, 0].tolist()[1] == 1
    assert encoder.encode([{"ad": "\ud83d\0"}]).ids.tolist() == [[1]]
