"""Parts survive JSON, and a file cannot name what is not registered."""

import pytest

from clicksmith.errors import CompositionError, SchemaError, UnknownNameError
from clicksmith.parts import Part, from_plain, kind_of, to_plain


class LeafOfTest(Part, frozen=True):
    width: int = 3
    rate: float | None = None


class TreeOfTest(Part, frozen=True):
    first: LeafOfTest = LeafOfTest()
    rest: tuple[LeafOfTest, ...] = ()


def test_a_spec_equals_itself_after_json() -> None:
    tree = TreeOfTest(first=LeafOfTest(width=5), rest=(LeafOfTest(rate=0.5), LeafOfTest()))
    assert from_plain(to_plain(tree)) == tree
    assert to_plain(tree)["rest"][0] == {"kind": "leaf_of_test", "width": 3, "rate": 0.5}


def test_names_are_snake_case() -> None:
    assert kind_of(type("LowRankCross", (), {})) == "low_rank_cross"  # type: ignore[arg-type]
    assert kind_of(type("DIN", (), {})) == "din"  # type: ignore[arg-type]
    assert kind_of(type("FGCNNBlock", (), {})) == "fgcnn_block"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plain", "error", "message"),
    [
        ({"kind": "tree_of_tst"}, UnknownNameError, "no part named 'tree_of_tst'. Did you mean 'tree_of_test'?"),
        (
            {"kind": "tree_of_test", "frist": {}},
            SchemaError,
            "$: no option of tree_of_test named 'frist'. Did you mean 'first'?",
        ),
        (
            {"kind": "tree_of_test", "rest": [{"kind": "leaf_of_test", "width": "x"}]},
            SchemaError,
            "$.rest[0].width: Expected `int`, got `str`; got 'x'.",
        ),
        (
            {"kind": "tree_of_test", "rest": [{"kind": "tree_of_test"}]},
            SchemaError,
            "$.rest[0]: a tree_of_test does not fit here.",
        ),
        ({"width": 3}, SchemaError, "$: expected a part, an object with a 'kind'; got {'width': 3}."),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(plain: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        from_plain(plain)
    assert str(caught.value) == message


def test_two_parts_cannot_share_a_kind_and_none_can_have_an_option_named_kind() -> None:
    with pytest.raises(CompositionError, match="a part of kind 'leaf_of_test' exists already"):
        type("LeafOfTest", (Part,), {"__module__": "elsewhere"}, frozen=True)
    with pytest.raises(CompositionError, match="has an option named 'kind'"):
        type("KindOfTest", (Part,), {"__annotations__": {"kind": str}, "kind": "x"}, frozen=True)
