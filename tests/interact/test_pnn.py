"""Product layers and bilinear pairs against loops."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.fields.fgcnn import FGCNN
from clicksmith.fields.senet import SENet
from clicksmith.interact.bilinear import Bilinear, PairMap
from clicksmith.interact.pnn import InnerProducts, OuterProducts

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)
PAIRS = list(itertools.combinations(range(N), 2))


def vectors():
    return torch.randn(4, N, DIM, dtype=torch.float64)


@pytest.mark.reference("inner_products")
def test_inner_products_of_all_pairs_in_order():
    x = vectors()
    expected = torch.stack([torch.stack([row[i] @ row[j] for i, j in PAIRS]) for row in x])
    given = InnerProducts().build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(given, expected)
    assert InnerProducts().out(SHAPE).width == given.shape[1]


@pytest.mark.reference("outer_products")
def test_the_outer_product_of_the_sum_is_the_sum_of_all_outer_products():
    x = vectors()
    expected = sum(x[:, i, :, None] * x[:, j, None, :] for i in range(N) for j in range(N))
    given = OuterProducts(kernel="sum").build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(given, expected.flatten(1))
    assert OuterProducts(kernel="sum").out(SHAPE).width == given.shape[1]


@pytest.mark.reference("outer_products")
def test_a_matrix_kernel_multiplies_each_pair_under_its_own_matrix():
    x, module = vectors(), OuterProducts(kernel="matrix").build(SHAPE).double()
    expected = [
        torch.stack([x[b, i] @ w @ x[b, j] for w, (i, j) in zip(module.map.weight, PAIRS, strict=True)])
        for b in range(4)
    ]
    given = module(Fields(x)).vector
    torch.testing.assert_close(given, torch.stack(expected))
    assert OuterProducts(kernel="matrix").out(SHAPE).width == given.shape[1]


@pytest.mark.reference("bilinear")
@pytest.mark.parametrize("matrices", ["all", "each", "pair"])
def test_bilinear_pairs_map_the_first_and_multiply_by_the_second(matrices):
    x, module = vectors(), Bilinear(matrices=matrices).build(SHAPE).double()
    expected, all_weights = [], module.map.weight
    for pair, (i, j) in enumerate(PAIRS):
        weight = all_weights if matrices == "all" else all_weights[i if matrices == "each" else pair]
        expected.append(torch.stack([(row[i] @ weight) * row[j] for row in x]))
    torch.testing.assert_close(module(Fields(x)).vector, torch.cat(expected, 1))


def test_equal_matrices_make_the_three_kinds_agree():
    x, weight = vectors(), torch.randn(DIM, DIM, dtype=torch.float64)
    given = []
    for matrices in ("all", "each", "pair"):
        module = PairMap(N, DIM, matrices).double()
        with torch.no_grad():
            module.weight.copy_(weight.expand_as(module.weight))
        given.append(module(x))
    torch.testing.assert_close(given[0], given[1])
    torch.testing.assert_close(given[0], given[2])


def test_with_unit_matrices_the_pairs_sum_to_the_inner_products():
    x, module = vectors(), PairMap(N, DIM, "all").double()
    with torch.no_grad():
        module.weight.copy_(torch.eye(DIM))
    torch.testing.assert_close(module(x).sum(-1), InnerProducts().build(SHAPE)(Fields(x)).vector)


def test_the_second_round_sees_what_the_transforms_change():
    x, module = vectors(), Bilinear(again=(SENet(reduction=2),)).build(SHAPE).double()
    changed = module.again[0](Fields(x)).vectors
    expected = torch.cat([module.map(x).flatten(1), module.map(changed).flatten(1)], 1)
    torch.testing.assert_close(module(Fields(x)).vector, expected)
    assert Bilinear(again=(SENet(),)).out(SHAPE).width == expected.shape[1]


def test_a_second_round_of_another_shape_is_refused():
    with pytest.raises(CompositionError, match=r"use transforms in `again` that keep both, such as SENet\.$"):
        Bilinear(again=(FGCNN(dim=DIM, channels=(2,), share=True),)).out(SHAPE)
