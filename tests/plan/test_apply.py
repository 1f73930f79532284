"""A Plan on schema and encoder: rows computed by hand, raw rows encoded under it, everything refused that cannot be."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import UNSEEN, ZERO
from clicksmith.errors import ArtifactError, UsageError
from clicksmith.plan import Block, Columns, FoundBy, IdMap, IdMaps, KeptFeatures, KeptFields, PairOp, Pairs, Plan
from clicksmith.plan.apply import apply_plan, numbering, schema_under
from clicksmith.plan.arrays import Array
from clicksmith.schema import Schema
from clicksmith.schema.columns import Bag, Behaviour, Categorical, Label, Multimodal, Numeric
from clicksmith.schema.schema import SideTable

BY = FoundBy(method="test")
SCHEMA = Schema(
    fields=(
        Categorical("user"),
        Categorical("item"),
        Bag("tags", separator="|"),
        Numeric("price", scale="quantile", bins=4),
    ),
    label=Label("click"),
    behaviours=(Behaviour("seen", of="item", separator="|"),),
)


def frame() -> pl.DataFrame:
    """Items a > b > c > d by frequency, users likewise; tags and histories over the same letters."""
    items = list("aaaaabbbbcccdd")
    rows = len(items)
    return pl.DataFrame({
        "user": ["u" + c for c in "vvvvvvwwwwxxyz"],
        "item": items,
        "tags": ["s|t", "s", "t|q", "", "s|t|q", "s", "t", "s", "q", "s|q", "t", "s", "s", "t"],
        "price": [float(i % 5) for i in range(rows)],
        "seen": ["a|b", "", "d", "c|d|a", "b", "a", "", "d|d", "c", "a|c", "b", "", "a", "b|c"],
        "click": [i % 2 for i in range(rows)],
    })  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.fit(SCHEMA, frame())


def mask(bits: str) -> Array:
    return Array(np.array([True, True, *(c == "1" for c in bits)]))


def features(encoder: Encoder, slot: str, bits: str, to: str = "zero", at: str | None = None) -> KeptFeatures:
    return KeptFeatures(
        slots={slot: mask(bits)}, dropped_to=to, numbering={slot: at or numbering(encoder)[slot]}, found_by=BY
    )


def mapping(encoder: Encoder, slot: str, rows: list[int], at: str | None = None) -> IdMaps:
    ids = np.array([0, 1, *rows], np.int32)
    one = IdMap(rows=len(np.unique(ids)), ids=Array(ids))
    return IdMaps(slots={slot: one}, numbering={slot: at or numbering(encoder)[slot]}, found_by=BY)


def to_two_rows(encoder: Encoder, rows: int, first: list[int], second: list[int]) -> IdMaps:
    one, two = (Array(np.array([0, 1, *ids], np.int32)) for ids in (first, second))
    maps = IdMaps(
        slots={"item": IdMap(rows=rows, ids=one, second=two)},
        numbering={"item": numbering(encoder)["item"]},
        found_by=BY,
    )
    maps.check()
    return maps


def ids_of(encoder: Encoder, column: str, rows: pl.DataFrame | None = None) -> list[int]:
    encoded = encoder.encode(frame() if rows is None else rows)
    names = [c.name for c in encoder.layout.ids]
    return encoded.ids[:, names.index(column)].tolist()


def test_quantiles_of_other_numbers_are_another_numbering(encoder):
    """Their values are the numbers of the cuts, alike for any numbers; a merged and a grown encoder know their own."""
    part = Plan(parts=(features(encoder, "price", "0110"),))
    apply_plan(part, Encoder.fit(SCHEMA, frame()))
    dearer = Encoder.fit(SCHEMA, frame().with_columns(pl.col("price") + 100))
    assert dearer.values("price") == encoder.values("price")
    with pytest.raises(UsageError, match="was found on another numbering of 'price'"):
        apply_plan(part, dearer)
    assert numbering(encoder.extend(NEXT_DAY))["price"] == numbering(encoder)["price"]  # ids stay
    both = Encoder.fit(SCHEMA, pl.concat([frame(), frame()]))
    assert numbering(encoder.merge(encoder))["price"] == numbering(both)["price"]
    assert dearer.ids_digest != encoder.ids_digest == Encoder.fit(SCHEMA, frame()).ids_digest


def test_an_encoder_that_was_saved_without_the_edges_has_the_same_numbering(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    file = tmp_path / "encoder" / "manifest.json"
    manifest = json.loads(file.read_text())
    for keep in manifest["note"]["keeps"].values():
        del keep["edges"]
    file.write_text(json.dumps(manifest))
    assert numbering(Encoder.load(tmp_path / "encoder")) == numbering(encoder)


def test_an_empty_plan_returns_the_encoder_itself(encoder):
    assert apply_plan(Plan(), encoder).encoder is encoder


def test_keeping_every_feature_keeps_every_id(encoder):
    under = apply_plan(Plan(parts=(features(encoder, "item", "1111"),)), encoder).encoder
    assert under.encode(frame()).ids.tolist() == encoder.encode(frame()).ids.tolist()
    assert under.layout == encoder.layout


def test_dropped_features_become_zero_in_columns_and_histories(encoder):
    under = apply_plan(Plan(parts=(features(encoder, "item", "1010"),)), encoder).encoder
    letters = {"a": 2, "b": ZERO, "c": 3, "d": ZERO}
    assert ids_of(under, "item") == [letters[c] for c in frame()["item"]]
    assert under.layout.rows["item"] == 4
    assert next(s for s in under.layout.slots if s.name == "item").zeros
    history = under.encode(frame()).histories["seen"][3, :, 0]
    assert history[-3:].tolist() == [3, ZERO, 2] and not history[:-3].any()


def test_forgotten_features_are_unseen_and_leave_the_dictionary(encoder):
    under = apply_plan(Plan(parts=(features(encoder, "item", "1010", "unseen"),)), encoder).encoder
    letters = {"a": 2, "b": 1, "c": 3, "d": 1}
    assert ids_of(under, "item") == [letters[c] for c in frame()["item"]]
    assert under.values("item") == ["a", "c"]
    history, counts = encoder.counts("item"), under.counts("item")
    assert counts.tolist() == [0, history[1] + history[3] + history[5], history[2], history[4]]


def test_values_that_training_never_saw_stay_unseen(encoder):
    row = frame()[:1].with_columns(item=pl.lit("new"), user=pl.lit("other"))
    for part in (features(encoder, "item", "0110"), mapping(encoder, "item", [2, 3, 2, 3])):
        assert ids_of(apply_plan(Plan(parts=(part,)), encoder).encoder, "item", row) == [1]


def test_a_map_shares_rows_and_counts_add_up(encoder):
    under = apply_plan(Plan(parts=(mapping(encoder, "item", [2, 3, 2, 3]),)), encoder).encoder
    assert ids_of(under, "item") == [{"a": 2, "b": 3, "c": 2, "d": 3}[c] for c in frame()["item"]]
    old, new = encoder.counts("item"), under.counts("item")
    assert new.tolist() == [0, old[1], old[2] + old[4], old[3] + old[5]]


def test_features_and_a_map_found_side_by_side_give_the_rows_computed_by_hand(encoder):
    kept, shared = features(encoder, "item", "0101"), mapping(encoder, "item", [2, 3, 4, 3])
    expected = {"a": ZERO, "b": 2, "c": ZERO, "d": 2}
    for parts in ((kept, shared), (shared, kept)):
        under = apply_plan(Plan(parts=parts), encoder).encoder
        assert ids_of(under, "item") == [expected[c] for c in frame()["item"]]
        assert under.layout.rows["item"] == 3


def test_a_part_found_under_another_one_follows_it(encoder):
    first = mapping(encoder, "item", [2, 3, 2, 4])
    under = apply_plan(Plan(parts=(first,)), encoder).encoder
    second = features(under, "item", "101")
    both = apply_plan(Plan(parts=(first, second)), encoder).encoder
    assert ids_of(both, "item") == [{"a": 2, "b": ZERO, "c": 2, "d": 3}[c] for c in frame()["item"]]
    twice = apply_plan(Plan(parts=(second,)), under).encoder
    assert twice.encode(frame()).ids.tolist() == both.encode(frame()).ids.tolist()
    with pytest.raises(UsageError, match="another numbering of 'item'"):
        apply_plan(Plan(parts=(second,)), encoder)


def test_what_was_found_beside_may_come_before_or_after_what_follows(encoder):
    first = mapping(encoder, "item", [2, 3, 2, 4])
    second = features(apply_plan(Plan(parts=(first,)), encoder).encoder, "item", "101")
    beside = features(encoder, "item", "1011", "unseen")
    orders = ((first, second, beside), (first, beside, second), (beside, first, second))
    found = [apply_plan(Plan(parts=parts), encoder) for parts in orders]
    for applied in found:
        assert ids_of(applied.encoder, "item") == [{"a": 2, "b": 1, "c": 2, "d": 3}[c] for c in frame()["item"]]
    assert len({applied.encoder.digest for applied in found}) == 1
    third = features(found[0].encoder, "item", "01")
    for parts in orders:
        under = apply_plan(Plan(parts=(*parts, third)), encoder).encoder
        assert ids_of(under, "item") == [{"a": ZERO, "b": 1, "c": ZERO, "d": 2}[c] for c in frame()["item"]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_any_mask_and_map_keep_what_both_keep(bits, groups):
    encoder = Encoder.fit(SCHEMA, frame())
    used = sorted(set(groups))
    shared = mapping(encoder, "item", [2 + used.index(g) for g in groups])
    kept = features(encoder, "item", "".join("01"[b] for b in bits))
    a, b = (apply_plan(Plan(parts=parts), encoder).encoder for parts in ((kept, shared), (shared, kept)))
    assert ids_of(a, "item") == ids_of(b, "item")
    for value, i in zip(frame()["item"], ids_of(a, "item"), strict=True):
        assert (i >= 2) == bits["abcd".index(value)]
    together = {(groups["abcd".index(v)], i) for v, i in zip(frame()["item"], ids_of(a, "item"), strict=True) if i > 0}
    assert len(together) == len({i for _, i in together}) == a.layout.rows["item"] - 2


def test_a_binned_number_and_a_bag_follow_a_plan(encoder):
    size = encoder.layout.rows["price"] - 2
    parts = (features(encoder, "price", "0" * (size - 1) + "1"), features(encoder, "tags", "101"))
    under = apply_plan(Plan(parts=parts), encoder).encoder
    old, new = ids_of(encoder, "price"), ids_of(under, "price")
    assert [2 if i == size + 1 else ZERO for i in old] == new
    before, after = encoder.encode(frame()).bags["tags"], under.encode(frame()).bags["tags"]
    assert after.tolist() == [[{0: 0, 2: 2, 3: ZERO, 4: 3}[i] for i in row] for row in before.tolist()]


def test_an_encoder_under_a_plan_is_saved_and_loaded(encoder, tmp_path):
    parts = (mapping(encoder, "item", [2, 3, 2, 3]), features(encoder, "user", "10011", "unseen"))
    under = apply_plan(Plan(parts=parts), encoder).encoder
    under.save(tmp_path / "encoder")
    back = Encoder.load(tmp_path / "encoder")
    assert back.digest == under.digest != encoder.digest and back.layout == under.layout
    assert back.encode(frame()).ids.tolist() == under.encode(frame()).ids.tolist()
    assert numbering(back) == numbering(under)
    with pytest.raises(ArtifactError, match="of user, item were decided by a Plan, and merging numbers ids anew"):
        encoder.merge(back)


NEXT_DAY = pl.DataFrame({
    "user": ["uv", "new", "new", "uz"], "item": ["e", "a", "d", "b"], "tags": ["s|fresh", "fresh", "t", ""],
    "price": [1.0, 90.0, 2.0, 3.0], "seen": ["e|a", "b", "", "d"], "click": [0, 1, 0, 1],
})  # fmt: skip


@pytest.mark.parametrize("to", ["zero", "unseen"])
def test_an_encoder_under_a_plan_extends_and_what_the_plan_has_no_say_on_stays_unseen(encoder, tmp_path, to):
    parts = (mapping(encoder, "item", [2, 3, 2, 3]), features(encoder, "user", "10011", to))
    under = apply_plan(Plan(parts=parts), encoder).encoder
    under.save(tmp_path / "encoder")
    for start in (under, Encoder.load(tmp_path / "encoder")):
        grown = start.extend(NEXT_DAY)
        old, new = start.encode(frame()), grown.encode(frame())
        np.testing.assert_array_equal(new.ids, old.ids)
        np.testing.assert_array_equal(new.histories["seen"], old.histories["seen"])
        np.testing.assert_array_equal(new.bags["tags"], old.bags["tags"])
        rows = grown.layout.rows
        assert (rows["user"], rows["item"]) == (start.layout.rows["user"], start.layout.rows["item"])
        assert rows["tags"] == start.layout.rows["tags"] + 1  # of no part: it grows as ever
        assert all(numbering(grown)[slot] == numbering(start)[slot] for slot in ("user", "item"))
        day = grown.encode(NEXT_DAY)
        assert day.ids[:, 0].tolist()[1:3] == [UNSEEN, UNSEEN] and day.ids[0, 1] == UNSEEN
        assert day.histories["seen"][0, :, 0].tolist()[-2:] == [UNSEEN, start.encode(frame()).ids[0, 1]]
        assert int(day.bags["tags"][1, 0]) == rows["tags"] - 1
        counts = grown.counts("item") - start.counts("item")
        # items of the day and of its histories; d is in row 3 with b, a and c share row 2, e has none
        assert counts.tolist() == [0, 2, 2, 4]
        assert grown.extend(NEXT_DAY).counts("user")[UNSEEN] == start.counts("user")[UNSEEN] + 4


def test_side_tables_are_renumbered(tmp_path):
    items = pl.DataFrame({"item": list("abcd"), "brand": ["x", "x", "y", "z"], "tags": ["s", "t", "s|t", ""]})
    schema = Schema(
        fields=(Categorical("user"), Categorical("item"), Categorical("brand"), Bag("tags", separator="|")),
        label=Label("click"),
        tables=(SideTable("items", "items.csv", "item"),),
    )
    log = frame().select("user", "item", "click")
    encoder = Encoder.fit(schema, log, tables={"items": items})
    under = apply_plan(
        Plan(parts=(features(encoder, "brand", "101"), mapping(encoder, "tags", [2, 2]))), encoder
    ).encoder
    names = [c.name for c in encoder.layout.ids]
    old, new = encoder.encode(log), under.encode(log)
    table = {2: 2, 3: ZERO, 4: 3}
    assert [table[i] for i in old.ids[:, names.index("brand")]] == new.ids[:, names.index("brand")].tolist()
    assert np.where(old.bags["tags"] > 1, 2, old.bags["tags"]).tolist() == new.bags["tags"].tolist()


def test_columns_move_with_the_rows(encoder):
    at = numbering(encoder)["item"]
    columns = Columns(
        dim=4, slots={"item": (Block(2, 4, (0, 1)), Block(4, 6, (0,)))}, numbering={"item": at}, found_by=BY
    )
    applied = apply_plan(Plan(parts=(features(encoder, "item", "0101"), columns)), encoder)
    assert applied.columns[0].slots["item"] == (Block(2, 3, (0, 1)), Block(3, 4, (0,)))
    gone = apply_plan(Plan(parts=(features(encoder, "item", "0011"), columns)), encoder)
    assert gone.columns[0].slots["item"] == (Block(2, 4, (0,)),)
    with pytest.raises(UsageError, match="map first"):
        apply_plan(Plan(parts=(mapping(encoder, "item", [2, 3, 2, 3]), columns)), encoder)


def test_ranked_columns_go_by_rank_on_other_rows_and_say_so(encoder):
    blocks = (Block(2, 3, (0, 1)), Block(3, 5, (2,)), Block(5, 6, ()))
    at = {"item": numbering(encoder)["item"]}
    ranked = Columns(dim=4, slots={"item": blocks}, ranked=True, numbering=at, found_by=BY)
    assert apply_plan(Plan(parts=(ranked,)), encoder).notes == ()
    more = Encoder.fit(SCHEMA, pl.concat([frame(), NEXT_DAY.with_columns(item=pl.Series(["e", "f", "e", "f"]))]))
    fewer = Encoder.fit(SCHEMA, frame()[:9].with_columns(seen=pl.lit("")))  # a and b alone
    for other, expected, told in (
        (more, (*blocks[:2], Block(5, 8, ())), "item 4 and 6"),
        (fewer, (blocks[0], Block(3, 4, (2,))), "item 4 and 2"),
    ):
        applied = apply_plan(Plan(parts=(ranked,)), other)
        assert applied.columns[0].slots["item"] == expected
        (note,) = applied.notes
        assert note.startswith("the Plan's part 'columns' (found by test) was found on other rows") and told in note
        bound = Columns(dim=4, slots={"item": blocks}, numbering=at, found_by=BY)
        after = features(other, "item", "10" + "1" * (other.layout.rows["item"] - 4))
        for parts in ((bound,), (after, ranked)):  # ranks are those of the whole vocabulary
            with pytest.raises(UsageError, match="another numbering of 'item'"):
                apply_plan(Plan(parts=parts), other)


def test_ranked_columns_are_refused_where_ids_do_not_fall_in_frequency(encoder):
    blocks, at = (Block(2, 3, (0, 1)), Block(3, 6, (2,))), {"item": "0" * 64}
    plan = Plan(parts=(Columns(dim=4, slots={"item": blocks}, ranked=True, numbering=at, found_by=BY),))
    assert apply_plan(plan, encoder).notes  # other rows of the same kind
    hashed = Schema(fields=(Categorical("user"), Categorical("item", buckets=9)), label=Label("click"))
    mapped = apply_plan(Plan(parts=(mapping(encoder, "item", [2, 3, 2, 3]),)), encoder).encoder
    for other in (Encoder.fit(hashed, frame()), mapped):
        with pytest.raises(UsageError, match="another numbering of 'item'"):
            apply_plan(plan, other)


def test_maps_to_two_rows_move_with_the_rows(encoder):
    double = to_two_rows(encoder, 4, [2, 3, 2, 3], [3, 3, 2, 2])
    applied = apply_plan(Plan(parts=(double, features(encoder, "item", "0110"))), encoder)
    assert applied.encoder.layout.rows["item"] == 4
    assert applied.doubles["item"].ids.values.tolist() == [0, 1, 3, 2]
    assert applied.doubles["item"].second.values.tolist() == [0, 1, 3, 2]
    whole = apply_plan(Plan(parts=(double,)), encoder)
    assert whole.encoder is encoder and whole.doubles == double.slots


def test_rows_of_two_that_no_kept_id_reaches_go(encoder):
    double = to_two_rows(encoder, 6, [2, 3, 4, 5], [3, 4, 5, 2])
    one = apply_plan(Plan(parts=(double, features(encoder, "item", "0100"))), encoder).doubles["item"]
    assert (one.rows, one.ids.values.tolist(), one.second.values.tolist()) == (4, [0, 1, 2], [0, 1, 3])
    with pytest.raises(UsageError, match="slot 'item': 6 ids need no 13 rows"):
        to_two_rows(encoder, 13, [2, 3, 4, 5], [3, 4, 5, 2])
    with pytest.raises(UsageError, match=r"pair user x item: dim is 1,125,899,906,842,624; give 65,536 at most"):
        Pairs(pairs=(PairOp(fields=("user", "item"), op="factorise", dim=2**50),), found_by=BY).check()


def test_the_field_that_a_file_of_vectors_is_keyed_by_stays():
    schema = Schema(
        fields=(Categorical("user"), Categorical("item"), Multimodal("image", dim=2, file="image.parquet", by="item")),
        label=Label("click"),
    )
    drop = KeptFields(drop={"item": "weak"}, found_by=BY)
    with pytest.raises(UsageError, match="drops 'item', but the vector file of 'image' needs it; keep it"):
        schema_under(Plan(parts=(drop,)), schema)
    both = KeptFields(drop={"item": "weak", "image": "weak"}, found_by=BY)
    assert [c.name for c in schema_under(Plan(parts=(both,)), schema).fields] == ["user"]


def test_the_domain_is_no_vocabulary_of_a_plan():
    schema = Schema(fields=SCHEMA.fields, label=SCHEMA.label, behaviours=SCHEMA.behaviours, domain="user")
    assert list(numbering(Encoder.fit(schema, frame()))) == ["user", "item", "tags", "price"]


def test_hashed_values_follow_a_plan(tmp_path):
    schema = Schema(fields=(Categorical("user"), Categorical("item", buckets=7)), label=Label("click"))
    encoder = Encoder.fit(schema, frame())
    rows = encoder.layout.rows["item"]
    bits = ["01"[i % 2] for i in range(rows - 2)]
    under = apply_plan(Plan(parts=(features(encoder, "item", "".join(bits)),)), encoder).encoder
    old, new = ids_of(encoder, "item"), ids_of(under, "item")
    assert new == [i if i < 2 else 2 + (i - 2) // 2 if i % 2 else ZERO for i in old]
    under.save(tmp_path / "encoder")
    assert ids_of(Encoder.load(tmp_path / "encoder"), "item") == new


def test_what_cannot_be_is_refused_naming_both_sides(encoder):
    other = Encoder.fit(SCHEMA, frame()[:9])
    with pytest.raises(UsageError, match="another numbering of 'item'"):
        apply_plan(Plan(parts=(features(other, "item", "110"),)), encoder)
    with pytest.raises(UsageError, match="has 5 ids, there are 6"):
        apply_plan(Plan(parts=(features(encoder, "item", "110"),)), encoder)
    with pytest.raises(UsageError, match="mapped already"):
        apply_plan(Plan(parts=(mapping(encoder, "item", [2, 3, 2, 3]),) * 2), encoder)
    strange = KeptFeatures(slots={"nope": mask("1")}, numbering={"nope": "x"}, found_by=BY)
    with pytest.raises(UsageError, match=r"no vocabulary named 'nope'\..*give it with --schema"):
        apply_plan(Plan(parts=(strange,)), encoder)


def test_features_of_a_vocabulary_that_a_dropped_field_shared_name_the_part_that_drops_it():
    schema = Schema(fields=(Categorical("item"), Categorical("last", share="item")), label=Label("click"))
    rows = frame().with_columns(last=pl.lit("z"))
    part = features(Encoder.fit(schema, rows), "item", "11111")
    plan = Plan(parts=(drop("last"), part))
    encoder = Encoder.fit(schema_under(plan, schema), rows)
    with pytest.raises(
        UsageError,
        match=r"another numbering of 'item'.* If a field that .*'fields' .* drops \(last\) shared this vocab",
    ):
        apply_plan(plan, encoder)


def drop(*names: str) -> KeptFields:
    return KeptFields(drop=dict.fromkeys(names, "weak"), found_by=BY)


def test_a_dropped_field_leaves_schema_and_layout(encoder):
    schema = schema_under(Plan(parts=(drop("user", "tags"),)), SCHEMA)
    assert schema.field_names == ("item", "price") and "tags" not in schema.ignored
    under = Encoder.fit(schema, frame())
    assert under.layout.order == ("item", "price")
    assert under.encode(frame().drop("user", "tags")).ids.shape == (14, 2)


def test_a_dropped_field_names_a_row_if_it_did_before():
    """What stands beside scores: of the dropped fields ids of user and item, as without the Plan, and no other."""
    fields = (Categorical("user", role="user"), *SCHEMA.fields[1:])
    schema = msgspec.structs.replace(SCHEMA, fields=fields)
    under = schema_under(Plan(parts=(drop("user", "tags"),)), schema)
    assert under.keys == schema.keys == {"user"}


def test_a_field_that_something_needs_is_not_dropped():
    with pytest.raises(UsageError, match="drops 'item', but the behaviour 'seen' needs it"):
        schema_under(Plan(parts=(drop("item"),)), SCHEMA)
    left_out = Schema(fields=SCHEMA.fields[1:], label=SCHEMA.label, ignored=("user",))
    with pytest.raises(UsageError, match=r"'user' is left out already\. .*, as PLAN\.search/schema\.json"):
        schema_under(Plan(parts=(drop("user"),)), left_out)
    pairs = Pairs(pairs=(PairOp(fields=("user", "item"), op="factorise", dim=4),), found_by=BY)
    with pytest.raises(UsageError, match=r"drops 'user', but .*'pairs'.* uses it in user x item"):
        schema_under(Plan(parts=(drop("user"), pairs)), SCHEMA)
    with pytest.raises(UsageError, match=r"no field named 'usr'\. Did you mean 'user'"):
        schema_under(Plan(parts=(drop("usr"),)), SCHEMA)
    for name in ("users", "item"):  # a table may have the name of a field, and the field be dropped
        joined = Schema(fields=SCHEMA.fields[:2], label=SCHEMA.label, tables=(SideTable(name, "users.csv", "user"),))
        with pytest.raises(UsageError, match=f"drops 'user', but the side table '{name}' needs it"):
            schema_under(Plan(parts=(drop("user", "item"),)), joined)
    grouped = Schema(fields=SCHEMA.fields, label=SCHEMA.label, group="user")
    with pytest.raises(UsageError, match="drops 'user', but the schema's group needs it; keep it"):
        schema_under(Plan(parts=(drop("user"),)), grouped)


def test_parts_are_checked_when_a_plan_is_made(encoder):
    with pytest.raises(UsageError, match="set for padding and unseen"):
        Plan(parts=(KeptFeatures(slots={"item": Array(np.zeros(6, bool))}, numbering={"item": "x"}, found_by=BY),))
    with pytest.raises(UsageError, match="does not say their numbering"):
        Plan(parts=(KeptFeatures(slots={"item": mask("1111")}, found_by=BY),))
    ids = Array(np.array([0, 1, 2, 4], np.int32))
    with pytest.raises(UsageError, match="1 of 5 rows belong to no id"):
        Plan(parts=(IdMaps(slots={"item": IdMap(rows=5, ids=ids)}, numbering={"item": "x"}, found_by=BY),))
    with pytest.raises(UsageError, match="user x user is one field"):
        Plan(parts=(Pairs(pairs=(PairOp(fields=("user", "user"), op="factorise", dim=2),), found_by=BY),))


def test_the_origin_is_no_part_of_the_digest(encoder):
    one = Plan(parts=(features(encoder, "item", "1010"),))
    other = Plan(parts=(replace_origin(one.parts[0]),))
    assert one.digest == other.digest and one != other


def replace_origin(part: KeptFeatures) -> KeptFeatures:
    import msgspec

    return msgspec.structs.replace(part, found_by=FoundBy(method="other", seed=3))


def test_an_encoder_is_a_value(encoder):
    before = encoder.digest
    apply_plan(Plan(parts=(features(encoder, "item", "1010"),)), encoder)
    assert replace(encoder).digest == before
