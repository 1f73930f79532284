"""Powers of products against torch's operations in float64: values, running statistics, derivatives."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from clicksmith.kernels import native
from clicksmith.kernels.powers import powers


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the kernels of powers as they are called."""
    found: list[str] = []
    library = native.library()

    class Told:
        def __getattr__(self, name: str) -> object:
            if name.startswith("cs_powers"):
                found.append(name)
            return getattr(library, name)

    monkeypatch.setattr(native, "library", Told)
    return found


needs_kernels = pytest.mark.skipif(native.library() is None, reason="the kernels are not built")
SIZES = [(2, 1, 1), (3, 3, 5), (70, 10, 16), (333, 10, 33), (1000, 23, 100), (65, 40, 17)]


def drawn(rows: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, nn.BatchNorm1d]:
    torch.manual_seed(rows)
    norm = nn.BatchNorm1d(outputs, momentum=0.3)
    for given in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(given)  # type: ignore[arg-type]
    norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return torch.randn(rows, inputs), torch.randn(outputs, inputs) * 0.3, norm


def run(logs: Tensor, weight: Tensor, norm: nn.BatchNorm1d, direction: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return output, gradients and running statistics."""
    given = [logs.clone().requires_grad_(), weight.clone().requires_grad_(), norm.weight, norm.bias]
    out = powers(given[0], given[1], norm, dtype)
    assert out.dtype == dtype
    grads = torch.autograd.grad(out, given, direction.to(out.dtype))
    return [out.detach(), *grads, norm.running_mean, norm.running_var]  # type: ignore[list-item]


def close(ours: Tensor, expected: Tensor, share: float) -> None:
    apart, size = (ours.detach().double() - expected.detach()).abs().max(), expected.detach().abs().max()
    assert apart <= share * max(float(size), 1e-3), float(apart / size)


@needs_kernels
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_training_equals_torch_in_float64(size: tuple[int, int, int], dtype: torch.dtype, calls: list[str]):
    logs, weight, norm = drawn(*size)
    direction = torch.randn(size[0], size[2]).to(dtype)  # nothing is lost of it
    plain = copy.deepcopy(norm).double()
    ours = run(logs, weight, norm, direction, dtype)
    expected = run(logs.double(), weight.double(), plain, direction, torch.float64)
    exact = 1e-3 if size[0] == 2 else 1e-5  # two rows, normalised, are 1 and -1 but for eps: little is left
    for i, (a, b) in enumerate(zip(ours, expected, strict=True)):
        close(a, b, 4e-3 if i == 0 and dtype == torch.bfloat16 else exact)
    assert norm.num_batches_tracked == plain.num_batches_tracked == 1
    assert calls == ["cs_powers_forward", "cs_powers_backward"]


@needs_kernels
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_scoring_equals_torch_in_float64(size: tuple[int, int, int], dtype: torch.dtype, calls: list[str]):
    logs, weight, norm = drawn(*size)
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    with torch.no_grad():
        ours = powers(logs, weight, norm, dtype)
        expected = powers(logs.double(), weight.double(), copy.deepcopy(norm).double(), torch.float64)
    assert ours.dtype == dtype
    close(ours, expected, 4e-3 if dtype == torch.bfloat16 else 2e-6)
    assert all(torch.equal(before[name], now) for name, now in norm.state_dict().items())
    assert calls == ["cs_powers"]


@needs_kernels
@pytest.mark.parametrize("place", [0, 20_000, 39_999])
def test_one_row_far_from_all_others_does_not_spoil_the_moments(place: int):
    logs, weight, norm = drawn(40_000, 2, 3)
    weight.abs_()
    logs[place] = 12.0
    direction, plain = torch.randn(40_000, 3), copy.deepcopy(norm).double()
    ours = run(logs, weight, norm, direction, torch.float32)
    expected = run(logs.double(), weight.double(), plain, direction, torch.float64)
    for a, b in zip(ours, expected, strict=True):
        close(a, b, 3e-5)


@needs_kernels
@pytest.mark.parametrize("lay", ["turned", "expanded"])
def test_gradients_may_lie_in_any_order(lay: str):
    logs, weight, norm = drawn(6, 3, 4)
    direction = torch.randn(4, 6).t() if lay == "turned" else torch.randn(4).expand(6, 4)
    expected = run(logs, weight, copy.deepcopy(norm), direction.contiguous(), torch.float32)
    given = [logs.clone().requires_grad_(), weight.clone().requires_grad_()]
    ours = torch.autograd.grad(powers(given[0], given[1], norm, torch.float32), given, direction)
    for a, b in zip(ours, expected[1:], strict=False):
        assert torch.equal(a, b)


class Scored(nn.Module):
    def __init__(self, weight: Tensor, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.weight, self.norm = nn.Parameter(weight), norm

    def forward(self, logs: Tensor) -> Tensor:
        return powers(logs, self.weight, self.norm, torch.float32)


@needs_kernels
def test_torch_does_what_the_kernels_cannot(calls: list[str]):
    logs, weight, norm = drawn(6, 3, 4)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        powers(logs[:1], weight, norm, torch.float32)
    with pytest.raises(RuntimeError, match="running_mean should contain"):
        powers(logs, weight, nn.BatchNorm1d(5), torch.float32)
    averaging = nn.BatchNorm1d(4, momentum=None)
    for _ in range(2):
        powers(logs, weight, averaging, torch.float32)
    torch.testing.assert_close(averaging.running_mean, (logs @ weight.t()).exp().mean(0))
    scored = torch.func.vmap(lambda x: powers(x, weight, norm.eval(), torch.float32))(torch.stack([logs, logs]))
    torch.testing.assert_close(scored[1], powers(logs, weight, norm, torch.float32))
    with torch.no_grad(), forward_ad.dual_level():
        dual = powers(forward_ad.make_dual(logs, torch.ones_like(logs)), weight, norm, torch.float32)
        assert forward_ad.unpack_dual(dual).tangent is not None
    with torch.no_grad():
        traced: nn.Module = torch.jit.trace(Scored(weight, norm), logs, check_trace=False)  # type: ignore[assignment]
        torch.testing.assert_close(traced(logs + 1), norm(((logs + 1) @ weight.t()).exp()))
        with torch.device("meta"):
            assert calls == []
            assert powers(logs, weight, norm, torch.float32).device.type == "cpu"


@needs_kernels
def test_results_have_the_same_bits_for_any_number_of_threads():
    logs, weight, norm = drawn(1001, 10, 70)
    direction, found, threads = torch.randn(1001, 70), [], torch.get_num_threads()
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            found.append(run(logs, weight, copy.deepcopy(norm), direction, torch.float32))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@needs_kernels
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e30])
def test_what_is_no_number_shows(number: float):
    """A training that diverges must be seen to."""
    logs, weight, norm = drawn(5, 3, 4)
    logs[2, 1], weight = number, weight.abs()
    assert not powers(logs, weight, norm, torch.float32).isfinite().any()
    norm.running_mean.zero_(), norm.running_var.fill_(1)  # type: ignore[union-attr]
    with torch.no_grad():
        scored = powers(logs, weight, norm.eval(), torch.float32)
    assert not scored[2].isfinite().any()
    assert scored[[0, 1, 3, 4]].isfinite().all()


@needs_kernels
def test_the_exponential_is_right_over_the_whole_range():
    """To one row's product each: a batch norm that does nothing leaves the exponential alone."""
    logs = torch.linspace(-86.6, 88.7, 4001).unsqueeze(1)
    norm = nn.BatchNorm1d(1, eps=0.0).eval()
    with torch.no_grad():
        got = powers(logs, torch.ones(1, 1), norm, torch.float32)
    torch.testing.assert_close(got.double(), logs.double().exp(), rtol=3e-7, atol=0)


@needs_kernels
@pytest.mark.parametrize("lowered", [True, False])
def test_second_derivatives_are_those_of_torch(lowered: bool):
    """Also where the logarithms depend on the weight: what they were made of counts once."""
    logs, weight, norm = drawn(7, 3, 4)
    direction = torch.randn(7, 4)

    def twice(logs: Tensor, weight: Tensor, norm: nn.BatchNorm1d, direction: Tensor) -> tuple[Tensor, ...]:
        given = [logs.clone().requires_grad_(), weight.clone().requires_grad_(), norm.weight, norm.bias]
        out = powers(given[0] + given[1].sum() / 9, given[1], norm, logs.dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
            first = torch.autograd.grad(out, given, direction, create_graph=True)
        return *first, *torch.autograd.grad(sum((g * g).sum() for g in first), given[:3])  # type: ignore[arg-type]

    expected = twice(logs.double(), weight.double(), copy.deepcopy(norm).double(), direction.double())
    for a, b in zip(twice(logs, weight, norm, direction), expected, strict=True):
        close(a, b, 1e-4)


def test_without_kernels_it_is_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "library", lambda: None)
    logs, weight, norm = drawn(9, 3, 4)
    plain = copy.deepcopy(norm)
    assert torch.equal(powers(logs, weight, norm, torch.float32), plain((logs @ weight.t()).exp()))
