"""FM and its kin against loops over pairs."""

import itertools
import re

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape, View
from clicksmith.encode.layout import Layout, NumericColumn
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import FFM, FM, BiInteraction, FwFM
from clicksmith.interact.linear import FirstOrder, WeightedVectors
from clicksmith.models.dlrm import dlrm
from clicksmith.models.fwfm import fwfm
from clicksmith.models.spec import shapes_of
from clicksmith.parts import edited
from clicksmith.testing.layouts import LAYOUTS

N, DIM = 5, 3


def shape(n=N, views=()):
    names = tuple(Field(f"f{i}", "id") for i in range(n))
    return FieldShape(names, DIM, views=views, base=names)


def vectors(n=N):
    return torch.randn(4, n, DIM, dtype=torch.float64)


def pairs(n=N):
    return list(itertools.combinations(range(n), 2))


@pytest.mark.reference("fm")
def test_fm_sums_the_dot_products_of_all_pairs():
    x = vectors()
    expected = torch.stack([sum(row[i] @ row[j] for i, j in pairs()) for row in x])
    torch.testing.assert_close(FM().build(shape())(Fields(x)).logit, expected.unsqueeze(1))


def test_fm_of_three_numbers_by_hand():
    x = torch.tensor([[[2.0], [3.0], [5.0]]])
    assert FM().build(shape())(Fields(x)).logit.item() == 2 * 3 + 2 * 5 + 3 * 5


@pytest.mark.reference("bi_interaction")
def test_bi_interaction_sums_the_products_coordinate_by_coordinate():
    x = vectors()
    expected = sum(x[:, i] * x[:, j] for i, j in pairs())
    torch.testing.assert_close(BiInteraction().build(shape())(Fields(x)).vector, expected)


@pytest.mark.reference("fw_fm")
def test_fwfm_weighs_each_pair():
    module = FwFM().build(shape()).double()
    torch.nn.init.normal_(module.weight)
    x = vectors()
    expected = sum(r * (x[:, i] * x[:, j]).sum(1) for r, (i, j) in zip(module.weight, pairs(), strict=True))
    torch.testing.assert_close(module(Fields(x)).logit.squeeze(1), expected)


def test_fwfm_with_all_weights_1_is_fm():
    module, x = FwFM().build(shape()).double(), vectors()
    torch.nn.init.ones_(module.weight)
    torch.testing.assert_close(module(Fields(x)).logit, FM().build(shape())(Fields(x)).logit)


def test_fwfm_has_the_gradients_of_its_loop():
    module = FwFM().build(shape()).double()
    x = vectors().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, w: torch.func.functional_call(module, {"weight": w}, Fields(v)).logit, (x, module.weight)
    )


@pytest.mark.reference("ffm")
def test_ffm_multiplies_the_vectors_that_two_fields_hold_for_each_other():
    part = FFM(dim=2)
    (view,) = part.reads()
    table = torch.randn(4, N, N, 2, dtype=torch.float64)
    others = torch.stack([table[:, i, [j for j in range(N) if j != i]] for i in range(N)], 1)
    given = part.build(shape(views=(view,)))(Fields(vectors(), views={view.name: others})).logit
    expected = sum((table[:, i, j] * table[:, j, i]).sum(1) for i, j in pairs())
    torch.testing.assert_close(given.squeeze(1), expected)


@pytest.mark.reference("first_order")
def test_first_order_sums_the_weights():
    weights = torch.randn(4, N, 1, dtype=torch.float64)
    given = FirstOrder().build(shape())(Fields(vectors(), views={"first_order": weights})).logit
    torch.testing.assert_close(given, torch.stack([sum(weight for weight in row) for row in weights]))


def test_first_order_adds_a_constant_if_asked_to():
    weights = torch.randn(4, N, 1)
    module = FirstOrder(bias=True).build(shape())
    torch.nn.init.constant_(module.bias, 2.0)
    torch.testing.assert_close(module(Fields(vectors(), views={"first_order": weights})).logit, weights.sum(1) + 2)


@pytest.mark.reference("weighted_vectors")
def test_weighted_vectors_multiply_each_vector_by_that_of_its_feature():
    x, weights = vectors(), vectors()
    given = WeightedVectors(dim=DIM).build(shape())(Fields(x, views={"vector_weights": weights})).logit
    expected = sum((x[:, i] * weights[:, i]).sum(1) for i in range(N))
    torch.testing.assert_close(given.squeeze(1), expected)


def test_weight_vectors_of_another_length_are_refused():
    with pytest.raises(CompositionError, match=rf"dim={DIM + 1} cannot weigh fields' vectors of dim={DIM}; give both"):
        WeightedVectors(dim=DIM + 1).out(shape())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embed.numeric": {"kind": "bottom"}}, "weights for field 'price', and in its place there is '(numbers)'"),
        ({"embed.pool": {"kind": "din"}, "layout": "history"}, "'clicks.gap', and in its place there is none"),
        ({"transforms": [{"kind": "wukong"}]}, "weights for field 'user', and in its place there is 'wukong.0'"),
    ],
    ids=["numbers", "pool", "transform"],
)
def test_weight_vectors_are_for_the_fields_of_the_data(change, said):
    layout = LAYOUTS[change.pop("layout", "everything")]
    spec = edited(fwfm(), change)
    with pytest.raises(CompositionError, match=re.escape(said) + r": .*FirstOrder\(\) \(fwfm: linear='weight'\)\.$"):
        shapes_of(spec, layout)
    shapes_of(edited(fwfm(linear="weight"), change), layout)


def test_weight_vectors_pass_generated_fields_behind_those_of_the_data():
    before, after = shapes_of(edited(fwfm(), {"transforms": [{"kind": "fgcnn"}]}), LAYOUTS["everything"]).fields
    assert after.fields[: len(before.fields)] == before.fields != after.fields


def test_blocks_say_what_they_read():
    assert FirstOrder().reads() == (View("first_order", 1),)
    assert WeightedVectors(dim=3).reads() == ("vectors", View("vector_weights", 3))
    assert FFM(dim=3).reads() == (View("field_aware", 3, per="other"),)


@pytest.mark.parametrize("part", [FM(), FwFM(), BiInteraction()])
def test_one_field_makes_no_pair(part):
    with pytest.raises(
        CompositionError, match=r"^'\w+' multiplies pairs of fields, and the data has 1; use dnn or lr\.$"
    ):
        part.out(shape(1))


def test_columns_that_make_one_field_are_not_said_to_be_one():
    layout = Layout(slots=(), ids=(), numeric=(NumericColumn("price"), NumericColumn("age")), order=("price", "age"))
    message = (
        r"^'InnerProducts' .* the data has 2 columns that make 1; use .*, or Flat\(\) \(dlrm: interaction='cat'\)\.$"
    )
    with pytest.raises(CompositionError, match=message):
        shapes_of(dlrm(), layout)
    assert len(shapes_of(dlrm(interaction="cat"), layout).fields[-1].fields) == 1


def test_ffm_of_one_field_is_refused():
    with pytest.raises(
        CompositionError, match=r"^'ffm' multiplies pairs of fields, and the data has fewer than 2; use lr"
    ):
        FFM().out(shape(1))
