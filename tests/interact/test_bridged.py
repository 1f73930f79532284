"""EDCN's pairs of layers against the loops of its equations."""

import math

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.bridged import Bridged
from clicksmith.interact.cross import CrossNet

N, DIM = 3, 2
WIDTH = N * DIM
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def built(**options):
    module = Bridged(**{"layers": 2, **options}).build(SHAPE).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return module.eval()


def affine(x, linear):
    return [sum(linear.weight[o, i] * x[i] for i in range(len(x))) + linear.bias[o] for o in range(WIDTH)]


def normal(x, norm):
    return [
        (v - norm.running_mean[i]) / (norm.running_var[i] + norm.eps) ** 0.5 * norm.weight[i] + norm.bias[i]
        for i, v in enumerate(x)
    ]


def regulated(x, regulation, side, temperature):
    if regulation.gates is not None:
        raised = [math.exp(g / temperature) for g in regulation.gates[side]]
        x = [v * raised[i // DIM] / sum(raised) for i, v in enumerate(x)]
    return normal(x, regulation.norms[side]) if len(regulation.norms) else x


@torch.no_grad()
def looped(module, row, bridge, temperature):
    joined, first = list(row), None
    for layer, regulation in enumerate(module.inputs):
        crossed, deep = (regulated(joined, regulation, side, temperature) for side in (0, 1))
        first = crossed if first is None else first
        dot = sum(module.weight[layer, i] * crossed[i] for i in range(WIDTH))
        crossed = [crossed[i] + first[i] * dot + module.bias[layer, i] for i in range(WIDTH)]
        linear = next(m for m in module.dense[layer].modules() if isinstance(m, torch.nn.Linear))
        deep = [max(v, 0.0) for v in affine(deep, linear)]
        if bridge == "concat":
            joined = [max(v, 0.0) for v in affine(crossed + deep, module.joins[layer])]
        else:
            joined = [c * d if bridge == "product" else c + d for c, d in zip(crossed, deep, strict=True)]
    return torch.tensor(crossed + deep + joined, dtype=torch.float64)


@pytest.mark.reference("bridged")
@pytest.mark.parametrize("bridge", ["product", "sum", "concat"])
@pytest.mark.parametrize("options", [{}, {"regulate": False}, {"batch_norm": False, "temperature": 5.0}])
def test_pairs_of_layers_meet_in_bridges(bridge, options):
    module, x = built(bridge=bridge, **options), torch.randn(3, N, DIM, dtype=torch.float64)
    expected = torch.stack([looped(module, row, bridge, options.get("temperature", 1.0)) for row in x.flatten(1)])
    torch.testing.assert_close(module(Fields(x)).vector, expected)
    assert Bridged().out(SHAPE).width == 3 * WIDTH


def test_one_pair_without_regulation_is_a_cross_layer_beside_a_dense_layer():
    module, x = built(layers=1, regulate=False, batch_norm=False), torch.randn(3, N, DIM, dtype=torch.float64)
    net = CrossNet(WIDTH, 1).double()
    with torch.no_grad():
        net.weight.copy_(module.weight)
        net.bias.copy_(module.bias)
    torch.testing.assert_close(module(Fields(x)).vector[:, :WIDTH], net(x.flatten(1)))


def test_the_hotter_the_more_alike_are_the_fields():
    cold, hot = (built(layers=1, batch_norm=False, temperature=t) for t in (0.1, 1e6))
    hot.load_state_dict(cold.state_dict())
    x = torch.randn(2, WIDTH, dtype=torch.float64)
    crossed, deep = hot.inputs[0](x)
    torch.testing.assert_close(crossed, x / N, atol=1e-5, rtol=0)
    torch.testing.assert_close(deep, x / N, atol=1e-5, rtol=0)
    assert not torch.allclose(cold.inputs[0](x)[0], x / N, atol=1e-2)


def test_no_layers_are_refused():
    with pytest.raises(CompositionError, match=r"^'bridged' got layers=0 and temperature=1\.0; give layers=1 or more"):
        Bridged(layers=0).out(SHAPE)
