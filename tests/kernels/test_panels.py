"""Products in panels: every shape of rows and weights, and inputs that are the same in all rows."""

import pytest
import torch
from torch import Tensor

from clicksmith.kernels.panels import Panels, panels

BITS = [True, False, True, True, False]


def made(outputs: int, inputs: int, *, bias: bool = True, activation: str = "none") -> tuple[Panels, Tensor, Tensor]:
    torch.manual_seed(0)
    weight, b = torch.randn(outputs, inputs), torch.randn(outputs) if bias else torch.zeros(outputs)
    product = panels(weight, b if bias else None, activation)
    if product is None:
        pytest.skip("the kernels are not built")
    return product, weight, b


def looped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty(len(x), len(weight), dtype=torch.float64)
    for i, row in enumerate(x.double()):
        for j, w in enumerate(weight.double()):
            out[i, j] = (row * w).sum() + bias[j].double()
    return out


@pytest.mark.parametrize("outputs", [1, 8, 16, 17, 31, 40])
@pytest.mark.parametrize("rows", [*range(1, 15), 145])
def test_every_number_of_rows_and_outputs(rows: int, outputs: int):
    product, weight, bias = made(outputs, 19)
    x = torch.randn(rows, 19)
    torch.testing.assert_close(product(x).double(), looped(x, weight, bias), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shared", [[True] * 5, [False] * 5, BITS, [not b for b in BITS], [False] * 4 + [True]])
@pytest.mark.parametrize("rows", [2, 6, 13, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_inputs_that_all_rows_share(rows: int, shared: list[bool], bias: bool):
    product, weight, b = made(20, 15, bias=bias)
    x = torch.randn(rows, 5, 3)
    x[:, shared] = x[0, shared]
    x = x.flatten(1)
    torch.testing.assert_close(product(x).double(), looped(x, weight, b), atol=1e-5, rtol=1e-5)


def test_one_row_that_differs_counts_wherever_it_stands():
    product, weight, bias = made(20, 15)
    for odd in (0, 1, 38, 39):
        x = torch.randn(15).repeat(40, 1)
        x[odd, 7] += 1
        torch.testing.assert_close(product(x).double(), looped(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_relu_keeps_what_is_no_number():
    product, weight, bias = made(20, 15, activation="relu")
    x = torch.randn(40, 15)
    expected = looped(x, weight, bias).relu()
    assert (expected == 0).any()
    torch.testing.assert_close(product(x).double(), expected, atol=1e-5, rtol=1e-5)
    x[:, 3] = float("nan")
    assert product(x).isnan().all()
    x = torch.randn(40, 15)
    x[5, 3] = float("nan")
    found = product(x).isnan()
    assert found[5].all()
    assert found.sum() == 20


@pytest.mark.parametrize("rows", [1, 40, 400])
def test_the_number_of_threads_does_not_change_a_bit(rows: int):
    product, _, _ = made(100, 40)
    x, threads, found = torch.randn(rows, 40), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(product(x))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found)


def test_rows_of_another_width_are_refused():
    product, _, _ = made(20, 15)
    with pytest.raises(RuntimeError, match="rows of 14 numbers meet weights for 15"):
        product(torch.randn(3, 14))
