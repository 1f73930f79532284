"""Many small products in C agree with naive loops, whatever the strides, and so do their derivatives."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from clicksmith.kernels import small
from clicksmith.kernels.small import bmm


def looped(x, y):
    """Return the products by the definition, in float64."""
    items, n, inner = x.shape
    out = torch.zeros(items, n, y.shape[2], dtype=torch.float64)
    for i in range(items):
        for r in range(n):
            for k in range(inner):
                out[i, r] += x[i, r, k].double() * y[i, k].double()
    return out


def strided(rows, columns, items, how, dtype):
    """Return random [items, rows, columns] with one of the layouts that models make."""
    if how == "plain":
        return torch.randn(items, rows, columns).to(dtype)
    if how == "turned":
        return torch.randn(items, columns, rows).to(dtype).transpose(1, 2)
    if how == "items inside":
        return torch.randn(rows, items, columns).to(dtype).transpose(0, 1)
    return torch.randn(items, rows, columns + 3).to(dtype)[:, :, 2 : columns + 2]  # columns of a wider one


@pytest.fixture
def in_c(monkeypatch):
    """Fail if torch's product stands in; skip where there are no kernels."""
    if small.native_for() is None:
        pytest.skip("the kernels are not built")

    def refuse(*_):
        raise AssertionError("torch's product was used")

    monkeypatch.setattr(torch, "bmm", refuse)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("x_how", ["plain", "turned", "items inside", "cut"])
@pytest.mark.parametrize("y_how", ["plain", "turned", "items inside", "cut"])
@pytest.mark.parametrize(("items", "n", "inner", "m"), [(7, 10, 10, 10), (3, 1, 5, 17), (2, 12, 9, 64), (5, 4, 1, 1)])
def test_products_are_the_loops(in_c, dtype, x_how, y_how, items, n, inner, m):
    x, y = strided(n, inner, items, x_how, dtype), strided(inner, m, items, y_how, dtype)
    found, expected = bmm(x, y), looped(x, y)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "inner", "m"), [(700, 10, 10), (10, 700, 10), (64, 64, 64)])
def test_long_matrices_are_cut_and_none_is_lost(in_c, dtype, n, inner, m):
    x, y = strided(n, inner, 3, "items inside", dtype), strided(inner, m, 3, "plain", dtype)
    torch.testing.assert_close(
        bmm(x, y), torch.einsum("ink,ikm->inm", x.double(), y.double()).to(dtype), rtol=1e-2, atol=1e-4
    )


def test_the_result_lies_in_memory_as_the_first_factor_does(in_c):
    weight = torch.randn(4, 5, 6)
    assert bmm(torch.randn(8, 4, 5).transpose(0, 1), weight).transpose(0, 1).is_contiguous()
    assert bmm(torch.randn(4, 8, 5), weight).is_contiguous()


@pytest.mark.parametrize("x_how", ["plain", "items inside"])
@pytest.mark.parametrize("y_how", ["plain", "turned"])
def test_derivatives_first_and_second_are_torchs(x_how, y_how):
    x, y = strided(4, 6, 5, x_how, torch.float32), strided(6, 3, 5, y_how, torch.float32)
    found = []
    for product in (bmm, torch.bmm):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        first = torch.autograd.grad(product(a, b).square().sum(), (a, b), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (a, b))
        found.append((*first, *second))
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-4)


def test_an_expanded_gradient_and_a_shared_operand_are_read_as_they_are():
    x, y = torch.randn(3, 4, 5, requires_grad=True), torch.randn(1, 5, 6).expand(3, 5, 6)
    bmm(x, y).sum().backward()
    torch.testing.assert_close(x.grad, y.sum(2).unsqueeze(1).expand(3, 4, 5))


def test_under_autocast_both_are_rounded_and_sums_are_not():
    x, y = torch.randn(50, 3, 40), torch.randn(50, 40, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = bmm(x, y)
    assert found.dtype == torch.bfloat16
    exact = torch.einsum("ink,ikm->inm", x.bfloat16().double(), y.bfloat16().double())
    torch.testing.assert_close(found, exact.bfloat16(), rtol=8e-3, atol=1e-3)


def test_the_bits_do_not_depend_on_threads():
    x, y = torch.randn(90, 8, 11), torch.randn(90, 11, 13)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(bmm(x, y))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@pytest.mark.parametrize("shape", [(0, 4, 5, 6), (3, 0, 5, 6), (3, 4, 0, 6), (3, 4, 5, 0), (3, 4, 5, 65)])
def test_what_the_kernel_cannot_do_is_left_to_torch(shape):
    items, n, inner, m = shape
    x, y = torch.randn(items, n, inner), torch.randn(items, inner, m)
    assert torch.equal(bmm(x, y), torch.bmm(x, y))


def test_factors_that_do_not_fit_are_torchs_error():
    with pytest.raises(RuntimeError, match="size"):
        bmm(torch.randn(2, 3, 4), torch.randn(2, 5, 6))
    with pytest.raises(RuntimeError, match=r"size|batch"):
        bmm(torch.randn(2, 3, 4), torch.randn(3, 4, 6))


def test_torchs_counter_of_operations_sees_the_products():
    with FlopCounterMode(display=False) as counter:
        bmm(torch.randn(5, 4, 3), torch.randn(5, 3, 2))
    assert counter.get_total_flops() == 2 * 5 * 4 * 3 * 2
