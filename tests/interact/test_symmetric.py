"""Sums of products against loops over subsets of fields."""

from itertools import combinations

import pytest
import torch

from clicksmith.interact.fm import pair_sum
from clicksmith.interact.symmetric import symmetric_sums

N, DIM = 6, 3


def vectors():
    return torch.randn(4, N, DIM, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_sums_of_powers_stand_for_all_subsets_and_have_their_gradient(order):
    x, weight = vectors().requires_grad_(), torch.randn(4, DIM, dtype=torch.float64)
    given = symmetric_sums(x, order)[-1]
    expected = sum(x[:, list(chosen)].prod(1) for chosen in combinations(range(N), order))
    torch.testing.assert_close(given, expected)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), x)[0] for out in (given, expected))
    torch.testing.assert_close(ours, theirs)


def test_products_of_three_numbers_by_hand():
    x = torch.tensor([[[2.0], [3.0], [5.0]]])
    assert [float(e) for e in symmetric_sums(x, 3)] == [2 + 3 + 5, 6 + 10 + 15, 30]


def test_the_second_order_is_that_of_fm_and_orders_above_the_fields_are_zero():
    x = vectors()
    sums = symmetric_sums(x, N + 2)
    torch.testing.assert_close(sums[1], pair_sum(x))
    for beyond in sums[N:]:
        torch.testing.assert_close(beyond, torch.zeros_like(beyond), atol=1e-10, rtol=0)


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(lambda x: torch.cat(symmetric_sums(x, 4), 1), vectors().requires_grad_())


def test_half_precision_is_summed_in_single():
    assert symmetric_sums(vectors().bfloat16(), 3)[2].dtype == torch.float32
