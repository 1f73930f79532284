import pytest
import torch

from clicksmith.kernels import attention, native

pytestmark = pytest.mark.skipif(native.library() is None, reason="the kernels are not built")


def by_hand(x: torch.Tensor, heads: int, width: int, factor: float) -> torch.Tensor:
    """Loop over rows, heads and fields, in float64."""
    depth, rows = width // heads, []
    for row in x:
        out = row[:, 3 * width :].clone() if x.shape[2] > 3 * width else torch.zeros(x.shape[1], width, dtype=x.dtype)
        for h in range(heads):
            query, key, value = (row[:, b * width + h * depth : b * width + (h + 1) * depth] for b in range(3))
            for i in range(x.shape[1]):
                scores = torch.stack([query[i] @ key[j] for j in range(x.shape[1])]) * factor
                weights = (scores - scores.max()).exp()
                weights = weights / weights.sum()
                mixed = sum(weights[j] * value[j] for j in range(x.shape[1]))
                out = torch.cat(
                    [
                        out[:i],
                        (out[i] + torch.nn.functional.pad(mixed, (h * depth, width - (h + 1) * depth)))[None],
                        out[i + 1 :],
                    ]
                )
        rows.append(out)
    return torch.stack(rows)


@pytest.mark.parametrize(("fields", "heads", "width"), [(1, 1, 5), (10, 4, 32), (17, 2, 34), (40, 1, 16)])
@pytest.mark.parametrize("blocks", [3, 4])
@pytest.mark.parametrize("low", [False, True])
def test_attention_equals_the_loops_of_its_formula(fields: int, heads: int, width: int, blocks: int, low: bool):
    torch.manual_seed(0)
    x = torch.randn(3, fields, blocks * width).to(torch.bfloat16 if low else torch.float32)
    ours, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    direction = torch.randn(3, fields, width)
    out, expected = attention.attend(ours, heads, width, 0.7), by_hand(exact, heads, width, 0.7)
    (out * direction).sum().backward()
    (expected * direction.double()).sum().backward()
    assert ours.grad is not None
    assert exact.grad is not None
    limit = 0.03 if low else 2e-6
    assert float((out.detach().double() - expected.detach()).norm() / expected.detach().norm()) < limit
    assert float((ours.grad.double() - exact.grad).norm() / exact.grad.norm()) < limit


def test_scores_far_apart_do_not_overflow():
    x = torch.zeros(1, 4, 3 * 16)
    x[0, :, :32] = torch.tensor([300.0, -300.0, 5.0, 0.0])[:, None]
    x[0, :, 32:] = torch.eye(4, 16)
    out = attention.attend(x, 1, 16, 1.0)
    torch.testing.assert_close(out[0, :2, :4], torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))


def test_one_and_two_threads_give_the_same_bits():
    x, results = torch.randn(500, 10, 128), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            results.append(attention.attend(x, 4, 32, 0.5))
        finally:
            torch.set_num_threads(1)
    assert torch.equal(*results)


def test_it_differentiates_twice():
    x = torch.randn(2, 3, 24, dtype=torch.float32, requires_grad=True)
    (grad,) = torch.autograd.grad(attention.attend(x, 2, 8, 0.5).pow(2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.pow(2).sum(), x)
    y = x.detach().double().requires_grad_()
    (grad,) = torch.autograd.grad(by_hand(y, 2, 8, 0.5).pow(2).sum(), y, create_graph=True)
    (expected,) = torch.autograd.grad(grad.pow(2).sum(), y)
    torch.testing.assert_close(second.double(), expected, atol=1e-3, rtol=1e-3)
