"""Dice and the activations by name (specification of DIN, acceptance test 5)."""

import copy
import typing

import pytest
import torch

from clicksmith.embed.activation import Activation, Dice, activation


def test_dice_equals_the_loops_of_the_paper():
    dice, x = Dice(3).double(), torch.randn(7, 3, dtype=torch.float64)
    torch.nn.init.normal_(dice.alpha)
    out = dice(x)
    for j in range(3):
        column = x[:, j]
        mean = sum(column) / 7
        variance = sum((v - mean) ** 2 for v in column) / 7
        for i in range(7):
            p = 1 / (1 + torch.exp(-(x[i, j] - mean) / (variance + 1e-8) ** 0.5))
            torch.testing.assert_close(out[i, j], p * x[i, j] + (1 - p) * dice.alpha[j] * x[i, j])


def test_dice_with_slope_one_is_the_identity():
    dice, x = Dice(4), torch.randn(9, 4)
    torch.nn.init.ones_(dice.alpha)
    torch.testing.assert_close(dice(x), x)


@pytest.mark.parametrize("scale", [0.5, 30.0])
def test_the_gate_does_not_change_under_scaling_and_shifting(scale):
    x = torch.randn(50, 2, dtype=torch.float64)
    dice, moved = Dice(2).double(), Dice(2).double()
    torch.testing.assert_close(dice(x) / x, moved(scale * x + 3) / (scale * x + 3), rtol=1e-5, atol=1e-6)


def test_a_constant_input_is_halved():
    torch.testing.assert_close(Dice(1)(torch.full((5, 1), 3.0)), torch.full((5, 1), 1.5))


def test_padding_does_not_enter_the_statistics():
    x, mask = torch.randn(4, 5, 2), torch.rand(4, 5) < 0.5
    poisoned = torch.where(mask.unsqueeze(-1), x, torch.tensor(1e6))
    first, second = Dice(2), Dice(2)
    torch.testing.assert_close(first(x, mask)[mask], second(poisoned, mask)[mask])
    torch.testing.assert_close(first.mean, second.mean)
    assert not torch.allclose(first.mean, torch.zeros(2))


def test_a_batch_of_padding_alone_moves_nothing():
    dice = Dice(2)
    out = dice(torch.randn(2, 3, 2), torch.zeros(2, 3, dtype=torch.bool))
    assert out.isfinite().all() and torch.equal(dice.mean, torch.zeros(2))


def test_moving_averages_reach_the_moments_of_the_data_and_evaluation_uses_them():
    torch.manual_seed(0)
    dice = Dice(1, momentum=0.1)
    for _ in range(200):
        dice(3 + 2 * torch.randn(500, 1))
    assert float(dice.mean) == pytest.approx(3, abs=0.1)
    assert float(dice.variance) == pytest.approx(4, abs=0.3)
    dice.eval()
    x = torch.tensor([[3.0], [9.0]])
    torch.testing.assert_close(dice(x)[1:], dice(x[1:]))


def test_a_far_turning_point_makes_it_a_rectifier():
    dice = Dice(1).eval()
    dice.variance.fill_(1e-12)
    torch.testing.assert_close(dice(torch.tensor([[-2.0], [3.0]])), torch.tensor([[0.0], [3.0]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", typing.get_args(Activation))
def test_every_named_activation_keeps_the_shape(name):
    assert activation(name, 3)(torch.randn(4, 5, 3)).shape == (4, 5, 3)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (7, 19), (3, 4, 19), (0, 19)])
def test_scoring_gives_what_the_formula_gives_for_every_number(shape):
    torch.manual_seed(0)
    dice = Dice(shape[-1]).eval()
    with torch.no_grad():
        dice.alpha.normal_()
        dice.mean.normal_()
        dice.variance.uniform_(0.1, 3)
    x = torch.randn(shape) * torch.logspace(-3, 3, shape[-1])
    wide = copy.deepcopy(dice).double()(x.double())
    with torch.inference_mode():
        torch.testing.assert_close(dice(x).double(), wide, rtol=2e-6, atol=1e-6)
        turned = x.reshape(-1, shape[-1]).t().contiguous().t()
        torch.testing.assert_close(dice(turned).double(), wide.reshape(turned.shape), rtol=2e-6, atol=1e-6)
        with torch.autocast("cpu", torch.bfloat16):
            low = dice(x.bfloat16())
        assert low.dtype == torch.float32
        torch.testing.assert_close(
            low.double(), copy.deepcopy(dice).double()(x.bfloat16().double()), rtol=5e-2, atol=5e-2
        )


def test_what_is_no_number_stays_none_in_scoring():
    dice, x = Dice(20).eval(), torch.zeros(3, 20)
    x[1, 17] = float("nan")
    with torch.inference_mode():
        assert dice(x).isnan().nonzero().tolist() == [[1, 17]]


def training_case(mask_of, dtype=torch.float32, shape=(6, 40, 19)):
    """Return a module, inputs, a mask and the incoming gradient; rows that the mask leaves out hold no number."""
    torch.manual_seed(1)
    dice = Dice(shape[-1])
    with torch.no_grad():
        dice.alpha.normal_()
    x = ((torch.randn(shape) + 2 * torch.randn(shape[-1])) * torch.logspace(-1, 1, shape[-1])).to(dtype)
    mask = mask_of(torch.rand(shape[:-1]))
    if mask is not None:
        x[~mask] = float("nan")
    return dice, x, mask, torch.randn(shape)


def looped(dice, x, mask, gradient):
    """Return out, the gradients of x and alpha, mean and variance, by the formula over the rows admitted, in double."""
    wide = copy.deepcopy(dice).double()
    there = torch.ones(x.shape[:-1], dtype=torch.bool) if mask is None else mask
    rows = x[there].double().requires_grad_()
    mean = rows.sum(0) / len(rows)
    variance = ((rows - mean) ** 2).sum(0) / len(rows)
    p = 1 / (1 + torch.exp(-(rows - mean) / torch.sqrt(variance + dice.eps)))
    made = p * rows + (1 - p) * wide.alpha * rows
    (made * gradient[there].double()).sum().backward()
    out, dx = torch.zeros(x.shape, dtype=torch.float64), torch.zeros(x.shape, dtype=torch.float64)
    out[there], dx[there] = made.detach(), rows.grad
    return out, dx, wide.alpha.grad, mean.detach(), variance.detach()


MASKS = {
    "all": lambda _: None,
    "most": lambda share: share > 0.3,
    "late": lambda share: (share > 0.5) & (torch.arange(share.shape[-1]) > 30),
    "few": lambda share: share >= share.flatten().sort().values[-6],
}


@pytest.mark.parametrize("mask_of", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize(("dtype", "native"), [(torch.float32, True), (torch.float32, False), (torch.bfloat16, True)])
def test_training_is_the_formula_over_the_rows_that_count(mask_of, dtype, native, monkeypatch):
    if not native:
        monkeypatch.setattr("clicksmith.kernels.dice.native_for", lambda *_: None)
    dice, x, mask, gradient = training_case(mask_of, dtype)
    given = x.clone().requires_grad_()
    out = dice(given, mask)
    out.backward(gradient.to(out.dtype))
    expected = looped(dice, x, mask, gradient)
    near = {"rtol": 2e-5, "atol": 2e-5} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    scale = x.detach().double().nan_to_num().abs().amax((0, 1)).clamp(min=1)
    torch.testing.assert_close(out.double() / scale, expected[0] / scale, **near)
    torch.testing.assert_close(given.grad.double(), expected[1], **near)
    torch.testing.assert_close(dice.alpha.grad.double() / scale, expected[2] / scale, rtol=near["rtol"], atol=1e-3)
    torch.testing.assert_close(dice.mean.double(), dice.momentum * expected[3], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dice.variance.double(), 0.99 + dice.momentum * expected[4], rtol=1e-5, atol=1e-6)


def test_moments_lose_no_digits_far_from_zero():
    dice = Dice(3, momentum=1.0)
    x = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)) + 10_000
    dice(x)
    torch.testing.assert_close(dice.variance.double(), x.double().var(0, correction=0), rtol=1e-5, atol=0)


def test_training_has_the_same_bits_on_any_number_of_threads():
    def run(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            dice, x, mask, gradient = training_case(MASKS["most"], shape=(64, 50, 20))
            x.requires_grad_()
            dice(x, mask).backward(gradient)
        finally:
            torch.set_num_threads(before)
        return x.grad, dice.alpha.grad, dice.mean, dice.variance

    for one, two in zip(run(1), run(2), strict=True):
        assert torch.equal(one, two)


def test_a_batch_of_padding_leaves_the_averages_and_gives_no_gradient():
    dice = Dice(4)
    x = torch.full((2, 3, 4), float("nan"), requires_grad=True)
    out = dice(x, torch.zeros(2, 3, dtype=torch.bool))
    out.sum().backward()
    assert out.abs().max() == x.grad.abs().max() == dice.alpha.grad.abs().max() == 0
    assert dice.mean.tolist() == [0] * 4
    assert dice.variance.tolist() == [1] * 4


def test_the_second_derivative_is_that_of_the_formula():
    dice, x, mask, gradient = training_case(lambda share: share > 0.3, shape=(3, 4, 5))
    x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
    found = []
    for module, given in ((dice, x), (copy.deepcopy(dice).double(), x.double())):
        given = given.clone().requires_grad_()
        first = torch.autograd.grad((module(given, mask) * gradient).sum(), given, create_graph=True)[0]
        found.append(torch.autograd.grad(first.square().sum(), given)[0].double())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frozen", ["x", "alpha"])
def test_a_second_derivative_where_one_input_is_fixed(frozen):
    dice, x, mask, gradient = training_case(lambda share: share > 0.3, shape=(3, 4, 5))
    x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
    found = []
    for module, given in ((dice, x), (copy.deepcopy(dice).double(), x.double())):
        given = given.clone().requires_grad_(frozen != "x")
        module.alpha.requires_grad_(frozen != "alpha")
        loss = (module(given, mask) * gradient).square().sum()
        by = module.alpha if frozen == "x" else given
        found.append(torch.autograd.grad(loss, by, create_graph=True)[0].double())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("width", "mask"), [(7, None), (3, None), (4, (5, 1)), (4, (30,)), (4, (5, 7))])
def test_sizes_that_do_not_fit_are_refused_or_spread_as_torch_does(width, mask, training):
    dice = Dice(4).train(training)
    x, there = torch.randn(5, 6, width), None if mask is None else torch.ones(mask, dtype=torch.bool)
    if mask == (5, 1) and not training:
        torch.testing.assert_close(dice(x, there), dice(x))
        return
    with pytest.raises((RuntimeError, IndexError)), torch.inference_mode(not training):
        dice(x, there)
