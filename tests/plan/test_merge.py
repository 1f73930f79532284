"""Merging: what commutes, what is kept, what is refused with both names."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.errors import ArtifactError, UsageError
from clicksmith.plan import Block, Columns, FoundBy, IdMap, IdMaps, KeptFeatures, KeptFields, PairOp, Pairs, Plan, Ranks
from clicksmith.plan.arrays import Array
from clicksmith.plan.merge import merge

AT = {"a": "n1", "b": "n2", "c": "n3"}


def by(method: str) -> FoundBy:
    return FoundBy(method=method)


def kept(*bits: int, slot: str = "a", method: str = "optfs") -> Plan:
    mask = Array(np.array([1, 1, *bits], bool))
    return Plan(parts=(KeptFeatures(slots={slot: mask}, numbering={slot: AT[slot]}, found_by=by(method)),))


def dropped(*names: str) -> Plan:
    return Plan(parts=(KeptFields(drop=dict.fromkeys(names, "weak"), found_by=by("outrank")),))


def columns(width: int, slot: str = "b", method: str = "dnis") -> Plan:
    blocks = (Block(2, 4, tuple(range(width))),)
    return Plan(parts=(Columns(dim=8, slots={slot: blocks}, numbering={slot: AT[slot]}, found_by=by(method)),))


def shared(slot: str = "b", method: str = "graphhash") -> Plan:
    one = IdMap(rows=3, ids=Array(np.array([0, 1, 2, 2], np.int32)))
    return Plan(parts=(IdMaps(slots={slot: one}, numbering={slot: AT[slot]}, found_by=by(method)),))


def ranks(rank: int, slot: str = "c", method: str = "by hand") -> Plan:
    return Plan(parts=(Ranks(slots={slot: rank}, found_by=by(method)),))


def pair(op: str) -> Plan:
    return Plan(parts=(Pairs(pairs=(PairOp(fields=("a", "b"), op=op, dim=4),), found_by=by("optinter")),))


def later(plan: Plan) -> Plan:
    """Return the Plan as it were found on other rows."""
    return Plan(parts=tuple(msgspec.structs.replace(part, numbering={"b": "n9"}) for part in plan.parts))


PLANS = st.lists(
    st.sampled_from([
        kept(1, 0), kept(0, 1), dropped("x"), columns(3), kept(1, 0, slot="b"), pair("memorise"),
        kept(1, 0, slot="c"), shared("c"), dropped("c"), ranks(3),
    ]),
    min_size=3, max_size=3,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_it_commutes_and_associates_on_one_numbering(plans):
    a, b, c = plans
    assert merge(a, b).digest == merge(b, a).digest
    assert merge(merge(a, b), c).digest == merge(a, merge(b, c)).digest == merge(a, b, c).digest
    assert merge(a, a) == merge(a) and merge(a, Plan()).digest == merge(a).digest


def test_parts_are_kept_and_come_in_the_order_in_which_they_act():
    whole = merge(pair("factorise"), ranks(2), columns(2), kept(1, 0), dropped("x"))
    assert [type(part).__name__ for part in whole.parts] == ["KeptFields", "KeptFeatures", "Columns", "Ranks", "Pairs"]


def test_a_part_found_under_another_one_follows_it():
    later = KeptFeatures(slots={"b": Array(np.ones(3, bool))}, numbering={"b": "after the map"}, found_by=by("optfs"))
    whole = merge(shared(), Plan(parts=(later,)))
    assert whole.parts == (*shared().parts, later)


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (columns(2), columns(3, method="optembed"), "both give the vocabulary 'b' its columns"),
        (columns(2), later(columns(3, method="optembed")), "both give the vocabulary 'b' its columns"),
        (shared(), shared(method="hash"), None),
        (dropped("b"), pair("memorise"), "drops the field 'b', the second makes the pair a x b"),
        (pair("memorise"), dropped("b"), "drops the field 'b', the second makes the pair a x b"),
        (ranks(2, "b"), columns(2), "the first gives the vocabulary 'b' its columns, the second its rank"),
        (ranks(2), ranks(3, method="lowrank"), "the first gives the vocabulary 'c' its rank, the second its rank"),
        (pair("memorise"), pair("factorise"), "lets a x b memorise, the second factorise"),
    ],
)
def test_contradictions_name_both_sides(one, two, words):
    if words is None:
        assert len(merge(one, two).parts) == 1  # the same map, found twice
        return
    with pytest.raises(UsageError, match=words) as caught:
        merge(one, two)
    for part in (*one.parts, *two.parts):
        assert f"found by {part.found_by.method}" in str(caught.value)


def test_what_is_said_of_a_dropped_field_falls_away():
    both = Array(np.array([1, 1, 1, 0], bool))
    features = KeptFeatures(slots={"a": both, "c": both}, numbering={**AT}, found_by=by("optfs"))
    whole = merge(Plan(parts=(features,)), columns(2, "c"), ranks(2), dropped("c"))
    assert [type(part).__name__ for part in whole.parts] == ["KeptFields", "KeptFeatures"]
    assert whole.parts[1].slots == {"a": both} and set(whole.parts[1].numbering) == {"a", "b"}


def test_a_search_that_found_no_pair_says_nothing_beside_one_that_did():
    none = Plan(parts=(Pairs(pairs=(), found_by=by("optinter")),))
    for both in (merge(none, pair("memorise")), merge(pair("memorise"), none)):
        assert both == pair("memorise")
    assert merge(none, none) == none


def test_what_two_searches_say_alike_is_said_once():
    one, two = Array(np.array([1, 1, 1, 0], bool)), Array(np.array([1, 1, 0, 1], bool))
    plan = Plan(
        parts=(
            *dropped("c").parts, *dropped("c", "d").parts,
            KeptFeatures(slots={"a": one}, numbering={"a": "n1"}, found_by=by("optfs")),
            KeptFeatures(slots={"b": two}, numbering={"b": "n2"}, found_by=by("optembed")),
        )
    )  # fmt: skip
    assert [line.partition(":")[0] for line in plan.summary()] == ["field c dropped", "field d dropped", "a", "b"]


def test_what_two_searches_keep_of_the_same_features_is_told_of_both_together():
    def parts(a: tuple[int, ...], b: tuple[int, ...]) -> KeptFeatures:
        masks = {slot: Array(np.array([1, 1, *bits], bool)) for slot, bits in (("a", a), ("b", b))}
        return KeptFeatures(slots=masks, numbering={"a": "n", "b": "n" + str(b)}, found_by=by("optfs"))

    plan = Plan(parts=(parts((1, 1, 0, 0), (1,)), parts((0, 1, 1, 0), (0,))))  # b: one under the other
    assert plan.summary()[-1] == "of what several parts choose among: 1 of 4 features kept (25.0%)"
    assert "several" not in "".join(kept(1, 0).summary())
    unlike = Plan(parts=(parts((1, 1, 0, 0), (1,)), parts((1, 1, 0), (0,))))  # of one numbering, it says
    assert "several" not in "".join(unlike.summary())


def test_long_arrays_lie_beside_the_file_and_are_checked(tmp_path):
    bits = (np.random.default_rng(0).random(200_000) < 0.5).astype(int)
    plan = kept(*bits.tolist())
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert len((tmp_path / "plan.json").read_text()) < 2000
    (side,) = (tmp_path / "plan.json.arrays").iterdir()
    content = side.read_bytes()
    side.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=f"{side.name}.*25000 bytes instead of 25001"):
        Plan.load(tmp_path / "plan.json")
    side.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ArtifactError, match=f"{side.name}.*checksum"):
        Plan.load(tmp_path / "plan.json")
    plan.save(tmp_path / "plan.json")  # written again, as the message says
    assert Plan.load(tmp_path / "plan.json") == plan and side.read_bytes() == content
    side.unlink()
    with pytest.raises(ArtifactError, match="together with its folder"):
        Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "damaged"), ("[" * 100_000, "damaged"), ("[]", "no Plan"), ('{"version": 9, "parts": []}', "version 9"),
     ('{"version": 1, "parts": [{"kind": "nope"}]}', "does not fit")],
)  # fmt: skip
def test_files_that_are_no_plan_are_refused(tmp_path, text, words):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ArtifactError, match=words):
        Plan.load(tmp_path / "plan.json")
    with pytest.raises(ArtifactError, match="cannot read"):
        Plan.load(tmp_path / "absent.json")


def test_a_score_that_json_cannot_hold_is_refused():
    with pytest.raises(UsageError, match="the score 'auc' of optfs is nan"):
        FoundBy(method="optfs", scores={"auc": float("nan")})
