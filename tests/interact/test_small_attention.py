"""The fast attention equals the plain one, in values and in gradients of first and second order."""

import pytest
import torch

from clicksmith.interact import small_attention
from clicksmith.interact.small_attention import attend, fits, plain

HEADS, WIDTH, FACTOR = 2, 6, 0.7


def projections(blocks, rows=5, dtype=torch.float64, spread=1.0):
    return (spread * torch.randn(rows, 4, blocks * WIDTH, dtype=dtype)).requires_grad_()


@pytest.mark.parametrize("blocks", [3, 4])
@pytest.mark.parametrize("chunk", [1, 4 * 4 * WIDTH * 2, 10**9])
def test_values_and_gradients_are_those_of_the_plain_operations(monkeypatch, blocks, chunk):
    monkeypatch.setattr(small_attention, "CHUNK", chunk)
    x = projections(blocks)
    given, expected = attend(x, HEADS, WIDTH, FACTOR), plain(x, HEADS, WIDTH, FACTOR)
    torch.testing.assert_close(given, expected)
    slope = torch.randn_like(given)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, slope)[0] for out in (given, expected)))


@pytest.mark.parametrize("blocks", [3, 4])
def test_first_and_second_derivatives_are_those_of_finite_differences(blocks):
    x = projections(blocks, rows=2)
    run = lambda x: attend(x, HEADS, WIDTH, FACTOR)  # noqa: E731
    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))


def test_large_scores_do_not_overflow():
    x = projections(3, dtype=torch.float32, spread=100.0)
    out = attend(x, HEADS, WIDTH, 1.0)
    assert out.isfinite().all()
    torch.testing.assert_close(out, plain(x, HEADS, WIDTH, 1.0))
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert grad.isfinite().all()


def test_bfloat16_is_near():
    x = projections(4, rows=50, dtype=torch.float32)
    low = attend(x.bfloat16(), HEADS, WIDTH, FACTOR)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), plain(x, HEADS, WIDTH, FACTOR), atol=0.1, rtol=0.05)


def test_it_is_for_training_on_few_fields():
    assert fits(projections(3))
    assert not fits(projections(3).detach())
    assert not fits(projections(3, rows=0))
    assert not fits(torch.zeros(2, 65, 3, requires_grad=True))
    with torch.no_grad():
        assert not fits(projections(3))
