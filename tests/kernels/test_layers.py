import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clicksmith.kernels import dense, native
from clicksmith.kernels.layers import DenseStack, Linear, cross

needs_kernels = pytest.mark.skipif(native.library() is None, reason="the kernels are not built")


def error(ours: Tensor, expected: Tensor) -> float:
    return float((ours.detach().double() - expected).norm() / expected.norm().clamp(min=1e-12))


def run(module: nn.Module, x: Tensor, direction: Tensor) -> dict[str, Tensor]:
    """Return output, input gradient, parameter gradients and buffers."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    y = module(x)
    (y * direction.to(y.dtype)).sum().backward()
    found = {"out": y.detach(), "x": x.grad} | {n: p.grad for n, p in module.named_parameters()}
    return found | {n: b.clone() for n, b in module.named_buffers() if "num" not in n}  # type: ignore[return-value]


def with_large_means(stack: DenseStack) -> DenseStack:
    with torch.no_grad():
        for p in stack.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return stack


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("width", [16, 17, 40])
def test_a_stack_equals_its_torch_modules_in_float64(way: str, batch_norm: bool, width: int):
    torch.manual_seed(0)
    stack = with_large_means(DenseStack(23, (width, 33), batch_norm=batch_norm))
    plain = copy.deepcopy(stack.layers).double()
    x, direction = torch.randn(300, 23) * 2 + 5, torch.randn(300, 33)
    ours, expected = run(stack, x, direction), run(plain, x.double(), direction.double())
    for name, value in expected.items():
        if batch_norm and name.endswith(".bias") and name[:-5] in ("0", "3"):
            assert ours[f"layers.{name}"].abs().max() < 1e-2  # zero: the norm takes a constant out again
            continue
        assert error(ours.get(name, ours.get(f"layers.{name}")), value) < 2e-5, name  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_under_autocast_a_stack_stays_within_bfloat16_of_float64(way: str, batch_norm: bool):
    torch.manual_seed(0)
    stack = DenseStack(64, (48, 32), batch_norm=batch_norm)
    plain = copy.deepcopy(stack.layers).double()
    x, direction = torch.randn(500, 64), torch.randn(500, 32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = run(stack, x, direction)
    expected = run(plain, x.double(), direction.double())
    assert ours["x"].dtype == torch.float32
    assert ours["layers.0.weight"].dtype == torch.float32
    for name in ("out", "x", "0.weight"):
        assert error(ours.get(name, ours.get(f"layers.{name}")), expected[name]) < 0.1, name  # type: ignore[arg-type]


@needs_kernels
@pytest.mark.parametrize("batch_norm", [True, False])
def test_dropout_drops_its_share_scales_the_rest_and_masks_the_gradient(batch_norm: bool):
    torch.manual_seed(1)
    stack = DenseStack(20, (400,), batch_norm=batch_norm, dropout=0.3)
    kept = copy.deepcopy(stack)
    kept.layers[-1].p = 0.0  # type: ignore[assignment]
    x = torch.randn(2000, 20)
    out, whole = stack(x), kept(x)
    alive = whole > 0
    share = float((out[alive] > 0).float().mean())
    assert share == pytest.approx(0.7, abs=0.005)
    torch.testing.assert_close(out[out > 0], whole[out > 0] / 0.7)
    assert not torch.equal(out > 0, stack(x) > 0)
    per_column = ((out > 0) & alive).float().sum(0) / alive.float().sum(0)
    assert float((per_column - 0.7).abs().max()) < 0.08
    if not batch_norm:
        out.sum().backward()
        expected = ((out > 0).float() / 0.7).sum(0)
        torch.testing.assert_close(stack.layers[0].bias.grad, expected)


@needs_kernels
def test_dropout_comes_from_torchs_generator_so_runs_resume_exactly():
    stack, x = DenseStack(20, (64, 32), batch_norm=True, dropout=0.5), torch.randn(100, 20)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = stack(x)
    torch.set_rng_state(state)
    assert torch.equal(stack(x), first)


@needs_kernels
@pytest.mark.parametrize("low", [False, True])
def test_one_and_two_threads_give_the_same_bits(low: bool):
    x, direction, results = torch.randn(3000, 100), torch.randn(3000, 64), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(3)
        stack = DenseStack(100, (80, 64), batch_norm=True, dropout=0.2)
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                results.append(run(stack, x, direction))
        finally:
            torch.set_num_threads(1)
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


@needs_kernels
def test_a_second_derivative_equals_that_of_the_torch_modules():
    torch.manual_seed(0)
    stack = DenseStack(10, (24, 20), batch_norm=True)
    other, x0, x = Linear(20, 20), torch.randn(30, 20), torch.randn(30, 10)
    plain_stack, plain_other = copy.deepcopy(stack.layers).double(), copy.deepcopy(other).double()

    def penalty(body: Any, linear: Any, x: Tensor, x0: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        weights = [linear.weight, next(iter(body.parameters()))]
        out = cross(x0, body(x), linear)
        (grad,) = torch.autograd.grad(out.pow(2).sum(), x, create_graph=True)
        return list(torch.autograd.grad(grad.pow(2).sum(), weights))

    ours = penalty(stack, other, x, x0)
    expected = penalty(plain_stack, plain_other, x.double(), x0.double())
    for a, b in zip(ours, expected, strict=True):
        assert error(a, b) < 1e-4


@needs_kernels
def test_a_second_derivative_in_bfloat16_is_refused():
    layer, x = Linear(20, 20), torch.randn(8, 20, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    with pytest.raises(RuntimeError, match="a second derivative is wanted through a bfloat16 layer"):
        torch.autograd.grad(out.float().sum(), x, create_graph=True)


@pytest.mark.parametrize("low", [False, True])
def test_the_cross_layer_equals_its_formula(way: str, low: bool):
    torch.manual_seed(0)
    linear, tensors = Linear(40, 40), [torch.randn(70, 40, requires_grad=True) for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        out = cross(tensors[0], tensors[1], linear)
    out.float().pow(2).sum().backward()
    exact = [t.detach().double().requires_grad_() for t in (*tensors, linear.weight, linear.bias)]
    expected = exact[0] * nn.functional.linear(exact[1], exact[2], exact[3]) + exact[1]
    expected.pow(2).sum().backward()
    assert error(out, expected.detach()) < (0.02 if low else 1e-6)
    for ours, reference in zip((*tensors, linear.weight, linear.bias), exact, strict=True):
        assert error(ours.grad, reference.grad) < (0.05 if low else 1e-5)  # type: ignore[arg-type]


def test_linear_takes_any_leading_shape_and_keeps_logits_in_float32(way: str):
    wide, narrow, x = Linear(24, 20), Linear(24, 1), torch.randn(5, 3, 24)
    torch.testing.assert_close(wide(x), nn.functional.linear(x, wide.weight, wide.bias), atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert wide(x).dtype == torch.bfloat16
        assert narrow(wide.weight.new_ones(4, 24).to(torch.bfloat16)).dtype == torch.float32


def test_other_activations_batches_of_one_and_float64_work(way: str):
    for activation in ("sigmoid", "tanh", "prelu", "linear", "relu"):
        stack = DenseStack(9, (17, 16), activation=activation, dropout=0.0)  # type: ignore[arg-type]
        for x in (torch.randn(1, 9), torch.randn(6, 9)):
            torch.testing.assert_close(stack(x), stack.layers(x), atol=1e-5, rtol=1e-5)
        assert stack.double()(torch.randn(3, 9, dtype=torch.float64)).dtype == torch.float64


def test_evaluation_export_and_functional_use_run_the_plain_modules(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dense, "linear", lambda *_a, **_k: pytest.fail("the fast path ran"))
    stack, x = DenseStack(9, (17, 16), batch_norm=True, dropout=0.1), torch.randn(6, 9)
    stack.eval()(x)
    program = torch.export.export(stack, (x,))
    torch.testing.assert_close(program.module()(x), stack(x))
    plain, parameters = DenseStack(9, (17, 16)), {}
    parameters = {n: p.detach() for n, p in plain.named_parameters()}

    def loss(p: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(plain, p, (x,)).sum()

    assert set(torch.func.grad(loss)(parameters)) == set(parameters)


def test_the_state_dict_is_that_of_the_torch_modules():
    stack = DenseStack(4, (20,), batch_norm=True)
    assert [n for n, _ in stack.named_parameters()] == [f"layers.{i}.{n}" for i in (0, 1) for n in ("weight", "bias")]
    assert isinstance(stack.layers[0], nn.Linear)
    assert isinstance(stack.layers[1], nn.BatchNorm1d)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 191, 192, 193, 384, 385, 1000])
def test_weight_gradients_are_sums_over_the_rows(rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    """Chunks and their rests, layers tall, wide, odd and of more tiles than fit at once; any number of threads."""
    monkeypatch.setattr(dense, "_has_tiles", lambda: False)
    torch.manual_seed(0)
    for outputs, inputs in ((16, 40), (40, 16), (33, 7), (500, 5), (5, 500), (17, 1), (450, 70)):
        g, x = torch.randn(rows, outputs).to(dtype), torch.randn(rows, inputs).to(dtype)
        expected, found = g.double().t() @ x.double(), []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            try:
                found.append(dense.weight_grad(g, x))
            finally:
                torch.set_num_threads(1)
        assert error(found[0], expected) < 1e-6, (outputs, inputs)
        assert found[0].dtype == torch.float32 and found[0].is_contiguous()
        assert all(torch.equal(found[0], other) for other in found[1:])


@needs_kernels
def test_weight_gradients_take_any_layout_and_no_rows():
    g, x = torch.randn(9, 50)[:, 3:20], torch.randn(12, 9).t()
    torch.testing.assert_close(dense.weight_grad(g, x), g.t() @ x)
    assert torch.equal(dense.weight_grad(g[:0], x[:0]), torch.zeros(17, 12))
    assert dense.weight_grad(g[:, :0], x).shape == (0, 12)


@needs_kernels
def test_weight_gradients_beside_tile_registers_are_torchs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dense, "_has_tiles", lambda: True)
    g, x = torch.randn(300, 40).bfloat16(), torch.randn(300, 7).bfloat16()
    ours = dense.weight_grad(g, x)
    assert ours.dtype == torch.float32 and error(ours, g.double().t() @ x.double()) < 5e-3
