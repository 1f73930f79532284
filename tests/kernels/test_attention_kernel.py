import pytest
import torch

from clicksmith.kernels import attention, native

pytestmark = pytest.mark.skipif(native.library() is None, reason="the kernels are not built")


def by_hand(x: torch.Tensor, heads: int, width: int, factor: float, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Loop over rows, heads and fields, in float64."""
    depth, rows = width // heads, []
    for r, row in enumerate(x):
        out = row[:, 3 * width :].clone() if x.shape[2] > 3 * width else torch.zeros(x.shape[1], width, dtype=x.dtype)
        for h in range(heads):
            query, key, value = (row[:, b * width + h * depth : b * width + (h + 1) * depth] for b in range(3))
            for i in range(x.shape[1]):
                scores = torch.stack([query[i] @ key[j] for j in range(x.shape[1])]) * factor
                weights = (scores - scores.max()).exp()
                weights = weights / weights.sum()
                weights = weights if mask is None else weights * mask[r, h, i]
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
@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_attention_equals_the_loops_of_its_formula(
    fields: int, heads: int, width: int, blocks: int, low: bool, drop: float
):
    torch.manual_seed(0)
    x = torch.randn(3, fields, blocks * width).to(torch.bfloat16 if low else torch.float32)
    ours, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    direction = torch.randn(3, fields, width)
    state = torch.get_rng_state()
    seed = int(torch.randint(0, 2**62, (), dtype=torch.int64))
    mask = attention.kept(x, heads, drop, seed).double() if drop else None
    torch.set_rng_state(state)
    out, expected = attention.attend(ours, heads, width, 0.7, drop), by_hand(exact, heads, width, 0.7, mask)
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


def test_dropout_keeps_its_share_of_the_weights_and_their_mean():
    x = torch.randn(200, 10, 3 * 32)
    mask = attention.kept(x, 4, 0.3, 12345)
    assert float((mask == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1, abs=0.01)
    first, second = (attention.kept(x, 4, 0.3, seed) for seed in (1, 2))
    assert float(((first == 0) & (second == 0)).float().mean()) == pytest.approx(0.09, abs=0.005)


def test_it_is_for_training_on_few_fields():
    x = torch.randn(2, 4, 48)
    assert attention.fits(x.requires_grad_())
    assert not attention.fits(x.detach())
    assert not attention.fits(torch.zeros(0, 4, 48, requires_grad=True))
    assert not attention.fits(torch.zeros(2, 65, 48, requires_grad=True))
    assert not attention.fits(x.detach().double().requires_grad_())
    with torch.no_grad():
        assert not attention.fits(x)


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_it_differentiates_twice(drop: float):
    x = torch.randn(2, 3, 24, dtype=torch.float32, requires_grad=True)
    state = torch.get_rng_state()
    seed = int(torch.randint(0, 2**62, (), dtype=torch.int64))
    mask = attention.kept(x, 2, drop, seed).double() if drop else None
    torch.set_rng_state(state)
    (grad,) = torch.autograd.grad(attention.attend(x, 2, 8, 0.5, drop).pow(2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.pow(2).sum(), x)
    y = x.detach().double().requires_grad_()
    (grad,) = torch.autograd.grad(by_hand(y, 2, 8, 0.5, mask).pow(2).sum(), y, create_graph=True)
    (expected,) = torch.autograd.grad(grad.pow(2).sum(), y)
    torch.testing.assert_close(second.double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("fields", "heads", "width"), [(1, 1, 5), (10, 4, 128), (17, 2, 34)])
@pytest.mark.parametrize("residual", ["none", "projected", "own"])
@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("low", [False, True])
def test_what_follows_attention_equals_its_operations(
    fields: int, heads: int, width: int, residual: str, normal: bool, low: bool
):
    torch.manual_seed(1)
    dtype = torch.bfloat16 if low else torch.float32
    x = torch.randn(3, fields, (4 if residual == "projected" else 3) * width).to(dtype).requires_grad_()
    own = torch.randn(3, fields, width).to(dtype).requires_grad_() if residual == "own" else None
    norm, direction = torch.nn.LayerNorm(width), torch.randn(3, fields, width)
    with torch.no_grad():
        norm.weight.uniform_(-1, 2)
        norm.bias.uniform_(-1, 1)
    given = [t for t in (x, own) if t is not None] + (list(norm.parameters()) if normal else [])
    out = attention.attend(x, heads, width, 0.7, residual=own, norm=norm if normal else None, rectify=True)
    found = torch.autograd.grad((out * direction).sum(), given)
    exact = [t.detach().double().requires_grad_() for t in given]
    expected = attention.plain(exact[0], heads, width, 0.7)
    expected = expected if own is None else expected + exact[1]
    if low:
        expected = expected + (expected.detach().to(dtype).double() - expected.detach())  # the kernel's own rounding
    if normal:
        expected = torch.nn.functional.layer_norm(expected, (width,), exact[-2], exact[-1])
    expected = torch.relu(expected)
    gradients = torch.autograd.grad((expected * direction.double()).sum(), exact)
    limit = 0.03 if low else 4e-6
    assert out.dtype == dtype
    for ours, theirs in zip([out.detach(), *found], [expected.detach(), *gradients], strict=True):
        assert float((ours.double() - theirs).norm()) < limit * float(theirs.norm()) + 1e-9


def test_a_whole_layer_has_the_same_bits_on_two_threads_and_differentiates_twice():
    x, own, norm = torch.randn(500, 10, 96, requires_grad=True), torch.randn(500, 10, 32), torch.nn.LayerNorm(32)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            torch.manual_seed(3)
            out = attention.attend(x, 4, 32, 0.5, 0.2, residual=own, norm=norm, rectify=True)
            results.append([out, *torch.autograd.grad(out.square().sum(), (x, norm.weight, norm.bias))])
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))

    def once(y: torch.Tensor, z: torch.Tensor, way: str) -> torch.Tensor:
        out = attention.attend(y, 4, 32, 0.5, residual=z, norm=norm, rectify=True)
        if way == "plain":
            out = torch.relu(norm(attention.plain(y, 4, 32, 0.5) + z))
        first = torch.autograd.grad(out.square().sum(), (y, z), create_graph=True)
        return torch.cat([g.flatten() for g in torch.autograd.grad(sum(g.square().sum() for g in first), (y, z))])

    y, z = x.detach()[:2].requires_grad_(), own[:2].clone().requires_grad_()
    torch.testing.assert_close(once(y, z, "ours"), once(y, z, "plain"), atol=1e-3, rtol=1e-3)
