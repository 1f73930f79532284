"""The compressed interaction network against the loops of its equation."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact import cin
from clicksmith.interact.cin import CIN

N, DIM = 4, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def built(*units):
    module = CIN(units=units).build(SHAPE).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.reference("cin")
def test_each_feature_map_compresses_all_products_with_the_first_layer():
    module, x = built(5, 2), torch.randn(3, N, DIM, dtype=torch.float64)
    expected = []
    for row in x:
        before, sums = row, []
        for layer in module.maps:
            weight = layer.weight.view(-1, N, len(before))
            maps = [
                sum(w[j, i] * before[i] * row[j] for i in range(len(before)) for j in range(N)) + bias
                for w, bias in zip(weight, layer.bias, strict=True)
            ]
            before = torch.stack(maps)
            sums.append(before.sum(1))
        expected.append(torch.cat(sums))
    torch.testing.assert_close(module(Fields(x)).vector, torch.stack(expected))
    assert CIN(units=(5, 2)).out(SHAPE).width == 7


def test_layer_k_is_a_form_of_order_k_plus_1():
    module, x = built(3, 3), torch.randn(2, N, DIM, dtype=torch.float64)
    for layer in module.maps:
        torch.nn.init.zeros_(layer.bias)
    once, doubled = module(Fields(x)).vector, module(Fields(2 * x)).vector
    torch.testing.assert_close(doubled[:, :3], 4 * once[:, :3])
    torch.testing.assert_close(doubled[:, 3:], 8 * once[:, 3:])


def test_gradients_are_those_of_finite_differences():
    module = built(3, 2)
    names = [name for name, _ in module.named_parameters()]
    values = [p.detach().requires_grad_() for p in module.parameters()]
    x = torch.randn(2, N, DIM, dtype=torch.float64, requires_grad=True)

    def run(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), Fields(x)).vector

    assert torch.autograd.gradcheck(run, (x, *values))
    assert torch.autograd.gradgradcheck(run, (x, *values))


@pytest.mark.parametrize("chunk", [1, 50, 10**9])
def test_chunks_change_neither_values_nor_gradients(monkeypatch, chunk):
    monkeypatch.setattr(cin, "CHUNK", chunk)
    module, x = built(3, 2), torch.randn(5, N, DIM, dtype=torch.float64, requires_grad=True)
    given = module(Fields(x)).vector
    with torch.no_grad():
        torch.testing.assert_close(given, module(Fields(x)).vector)
    first, slope = x.transpose(1, 2).flatten(0, 1), torch.randn(5, 5, dtype=torch.float64)
    maps, sums = first, []
    for layer in module.maps:
        maps = layer(cin._products(first, maps))
        sums.append(maps.unflatten(0, (-1, DIM)).sum(1))
    expected = torch.cat(sums, 1)
    leaves = (x, *module.parameters())
    for ours, theirs in zip(*(torch.autograd.grad(out, leaves, slope) for out in (given, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("units", [(), (4, 0)])
def test_no_feature_maps_are_refused(units):
    with pytest.raises(CompositionError, match=r"give no feature maps; give positive numbers, as in 64,64\.$"):
        CIN(units=units).out(SHAPE)
