"""Cross networks against the recurrences of their papers."""

import pytest
import torch

from clicksmith.embed.shape import FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.cross import Cross, CrossMixture, GatedCross, LowRankCross, MatrixCross

SHAPE = FieldShape((), 1)
WIDTH, LAYERS = 5, 4


def built(part):
    module = part.build(WIDTH, SHAPE).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def rows():
    return torch.randn(3, WIDTH, dtype=torch.float64)


@pytest.mark.reference("cross")
def test_cross_walks_the_layers_of_dcn():
    module, x0 = built(Cross(layers=LAYERS)), rows()
    expected = []
    for row in x0:
        x = row
        for w, b in zip(module.weight, module.bias, strict=True):
            x = row * (w @ x) + b + x
        expected.append(x)
    torch.testing.assert_close(module(x0), torch.stack(expected))


def test_cross_has_the_gradients_of_its_recurrence():
    module = built(Cross(layers=3))
    assert torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(module, {"weight": w, "bias": b}, x),
        (rows().requires_grad_(), module.weight, module.bias),
    )


def test_cross_of_one_layer_by_hand():
    module = Cross(layers=1).build(2, SHAPE)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 10.0]]))
        module.bias.copy_(torch.tensor([[0.5, 0.0]]))
    # w.x = 2 + 30 = 32; 2 * 32 + .5 + 2, 3 * 32 + 3
    assert module(torch.tensor([[2.0, 3.0]])).tolist() == [[66.5, 99.0]]


@pytest.mark.reference("matrix_cross")
def test_matrix_cross_multiplies_by_what_the_matrix_gives():
    module, x0 = built(MatrixCross(layers=LAYERS)), rows()
    expected = []
    for row in x0:
        x = row
        for linear in module.maps:
            x = torch.stack([row[i] * (linear.weight[i] @ x + linear.bias[i]) + x[i] for i in range(WIDTH)])
        expected.append(x)
    torch.testing.assert_close(module(x0), torch.stack(expected))


@pytest.mark.reference("gated_cross")
def test_gated_cross_lets_a_gate_weigh_what_a_layer_adds():
    module, x0 = built(GatedCross(layers=LAYERS)), rows()
    expected = []
    for row in x0:
        x = row
        for linear, bias in zip(module.maps, module.bias, strict=True):
            value, gate = linear.weight[:WIDTH], linear.weight[WIDTH:]
            added = [row[i] * (value[i] @ x + bias[i]) * torch.sigmoid(gate[i] @ x) for i in range(WIDTH)]
            x = torch.stack(added) + x
        expected.append(x)
    torch.testing.assert_close(module(x0), torch.stack(expected))


@pytest.mark.reference("low_rank_cross")
def test_low_rank_cross_goes_through_fewer_numbers():
    module, x0 = built(LowRankCross(layers=LAYERS, rank=2)), rows()
    expected = []
    for row in x0:
        x = row
        for inner, outer in module.maps:
            few = [inner.weight[r] @ x for r in range(2)]
            mapped = [sum(outer.weight[i, r] * few[r] for r in range(2)) + outer.bias[i] for i in range(WIDTH)]
            x = torch.stack([row[i] * mapped[i] + x[i] for i in range(WIDTH)])
        expected.append(x)
    torch.testing.assert_close(module(x0), torch.stack(expected))


def test_low_rank_at_full_rank_is_the_full_matrix():
    low, full = built(LowRankCross(layers=LAYERS, rank=WIDTH)), built(MatrixCross(layers=LAYERS))
    with torch.no_grad():
        for (inner, outer), linear in zip(low.maps, full.maps, strict=True):
            linear.weight.copy_(outer.weight @ inner.weight)
            linear.bias.copy_(outer.bias)
    x = rows()
    torch.testing.assert_close(low(x), full(x))


def test_every_matrix_is_reached_at_full_rank():
    low, full = built(LowRankCross(layers=1, rank=WIDTH)), built(MatrixCross(layers=1))
    with torch.no_grad():
        left, scale, right = torch.linalg.svd(full.maps[0].weight)
        low.maps[0][0].weight.copy_(scale.unsqueeze(1) * right)
        low.maps[0][1].weight.copy_(left)
        low.maps[0][1].bias.copy_(full.maps[0].bias)
    x = rows()
    torch.testing.assert_close(low(x), full(x))


@pytest.mark.reference("cross_mixture")
def test_mixture_adds_up_experts_under_their_gates():
    experts, rank = 3, 2
    module, x0 = built(CrossMixture(layers=2, rank=rank, experts=experts)), rows()
    expected = []
    for row in x0:
        x = row
        for layer in range(2):
            gates = torch.softmax(torch.stack([g @ x for g in module.gate.weight]), 0)
            total = x
            for i in range(experts):
                down = module.down[layer].weight[i * rank : (i + 1) * rank]
                up = module.up[layer].weight[:, i * rank : (i + 1) * rank]
                inner = torch.tanh(module.core[layer][i] @ torch.tanh(down @ x))
                total = total + gates[i] * row * (up @ inner + module.bias[layer])
            x = total
        expected.append(x)
    torch.testing.assert_close(module(x0), torch.stack(expected))


def test_a_mixture_of_equal_experts_ignores_its_gates():
    module = built(CrossMixture(layers=1, rank=2, experts=3))
    with torch.no_grad():
        module.down[0].weight.copy_(module.down[0].weight[:2].repeat(3, 1))
        module.up[0].weight.copy_(module.up[0].weight[:, :2].repeat(1, 3))
        module.core[0].copy_(module.core[0][:1].expand(3, -1, -1))
    x = rows()
    before = module(x)
    torch.nn.init.normal_(module.gate.weight, std=3.0)
    torch.testing.assert_close(module(x), before)


@pytest.mark.parametrize("part", [Cross(), MatrixCross(), GatedCross(), LowRankCross(), CrossMixture()])
def test_layers_keep_the_width_and_read_nothing_else(part):
    assert (part.width(7), part.reads()) == (7, ())


def test_nonsense_sizes_are_refused():
    with pytest.raises(
        CompositionError, match=r"^a cross network of 0 layers crosses nothing; give layers=1 or more\.$"
    ):
        Cross(layers=0).width(3)
    with pytest.raises(CompositionError, match=r"^a cross network of rank 0 crosses nothing; give rank=1 or more\.$"):
        LowRankCross(rank=0).build(3, SHAPE)
