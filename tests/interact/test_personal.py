"""PPNet's layers against their equation, row by row."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.personal import PersonalMLP

NAMES = (Field("user", "id", "user"), Field("item", "id", "item"), Field("hour", "id"))
SHAPE = FieldShape(NAMES, 4, base=NAMES)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def fields():
    vectors = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    return Fields(vectors, views={"personal": torch.randn(5, 2, 3, dtype=torch.float64)})


@pytest.mark.reference("personal_mlp")
@pytest.mark.parametrize("chosen", [(), ("user", "item")])
def test_each_layer_passes_a_gate(chosen):
    part = PersonalMLP(dim=3, fields=chosen, units=(6, 5), gate_units=2)
    module, given, x = randomly(part.build(7, SHAPE)), fields(), torch.randn(5, 7, dtype=torch.float64)
    for b in range(5):
        context = torch.cat([*given.vectors[b], *(given.views["personal"][b] if chosen else [])])
        state = x[b]
        for n, (layer, gate) in enumerate(zip(module.layers, module.gates, strict=True)):
            own = slice(2 * n, 2 * n + 2)
            inner = torch.relu(module.read.weight[own] @ context + module.read.bias[own])
            dense = layer.stack.layers[0]
            state = torch.relu(dense.weight @ state + dense.bias)
            state = state * 2 * torch.sigmoid(gate.weight @ inner + gate.bias)
        torch.testing.assert_close(module(x, given)[b], state)
    assert part.width(7) == 5


def test_no_gradient_flows_from_the_gates_into_the_vectors():
    module, given = randomly(PersonalMLP(units=(6,), gate_units=2).build(7, SHAPE)), fields()
    module(torch.randn(5, 7, dtype=torch.float64), given).sum().backward()
    assert given.vectors.grad is None


def test_what_cannot_be_gated_is_refused():
    with pytest.raises(CompositionError, match=r"^personal layers of units=\(\), gate_units=64 gate nothing;"):
        PersonalMLP(units=()).width(3)
    with pytest.raises(CompositionError, match=r"^context of 'personal': no field named 'usr'\. Did you mean 'user'\?"):
        PersonalMLP(fields=("usr",)).build(7, SHAPE)


def test_the_gates_of_each_layer_are_drawn_as_if_they_stood_alone():
    torch.manual_seed(0)
    read = PersonalMLP(units=(8,) * 8, gate_units=40).build(SHAPE.flat, SHAPE).read.weight
    assert read.std().item() == pytest.approx((2 / (read.shape[1] + 40)) ** 0.5, rel=0.1)
