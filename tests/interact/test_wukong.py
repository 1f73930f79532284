"""Wukong's layers against loops over fields."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.wukong import Wukong

N, DIM = 4, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


@pytest.mark.reference("wukong")
@pytest.mark.parametrize("norm", [True, False])
def test_layers_join_products_and_linear_maps(norm):
    products, linear, rank = 2, 3, 2
    part = Wukong(layers=2, products=products, linear=linear, rank=rank, units=(6,), norm=norm)
    module, x = randomly(part.build(SHAPE)), torch.randn(3, N, DIM, dtype=torch.float64)
    expected = []
    for row in x:
        state = list(row)
        for layer in module.layers:
            fields = range(len(state))
            combined = [sum(layer.rank[j, k] * state[j] for j in fields) for k in range(rank)]
            dots = torch.stack([state[i] @ combined[k] for i in fields for k in range(rank)])
            hidden, new = layer.hidden.layers[0], layer.new.layers[0]
            inner = torch.relu(hidden.weight @ layer.norm_products(dots) + hidden.bias)
            out = list(torch.relu(new.weight @ inner + new.bias).view(products, DIM))
            out += [sum(layer.linear[m, j] * state[j] for j in fields) for m in range(linear)]
            for m in range(products + linear):
                carried = state[m] if layer.carry is None else layer.carry.bias[m]
                if layer.carry is not None:
                    carried = carried + sum(layer.carry.weight[m, j] * state[j] for j in fields)
                out[m] = layer.norm(out[m] + carried)
            state = out
        expected.append(torch.stack(state))
    torch.testing.assert_close(module(Fields(x)).vectors, torch.stack(expected))
    assert [layer.carry is None for layer in module.layers] == [False, True]


def test_new_fields_stand_for_the_old_ones_and_views_still_see_those():
    grown = Wukong(products=2, linear=3).grow(SHAPE)
    assert [f.name for f in grown.fields] == [f"wukong.{i}" for i in range(5)]
    assert grown.base == SHAPE.fields


def test_nonsense_sizes_are_refused():
    with pytest.raises(
        CompositionError, match=r"^wukong layers=3, products=40, linear=40, rank=0: all must be 1 or more"
    ):
        Wukong(rank=0).grow(SHAPE)
