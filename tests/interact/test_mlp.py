"""Dense layers."""

import math
from typing import get_args

import pytest
import torch

from clicksmith.embed.activation import Activation
from clicksmith.embed.shape import FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.mlp import MLP

SHAPE = FieldShape((), 1)


@pytest.mark.reference("mlp")
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_each_layer_adds_up_its_inputs_and_bends_the_sum(activation, batch_norm):
    module = MLP(units=(5, 3), activation=activation, batch_norm=batch_norm).build(4, SHAPE).double().eval()
    bend = {"relu": lambda v: max(v, 0.0), "tanh": math.tanh, "sigmoid": lambda v: 1 / (1 + math.exp(-v))}
    linears = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    for norm in norms:
        for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            values.uniform_(0.5, 2)
    x, expected = torch.randn(6, 4, dtype=torch.float64), []
    for row in x.tolist():
        for layer, linear in enumerate(linears):
            sums = [sum(w * v for w, v in zip(line, row, strict=True)) for line in linear.weight.tolist()]
            row = [total + b for total, b in zip(sums, linear.bias.tolist(), strict=True)]
            if norms:
                norm = norms[layer]
                named = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
                row = [
                    (v - mean) / (var + norm.eps) ** 0.5 * weight + bias
                    for v, mean, var, weight, bias in zip(row, *(values.tolist() for values in named), strict=True)
                ]
            row = [bend.get(activation, float)(v) for v in row]
        expected.append(row)
    torch.testing.assert_close(module(x).tolist(), expected)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_follows_its_linear_map(activation, batch_norm):
    module = (
        MLP(units=(5, 3), activation=activation, batch_norm=batch_norm, dropout=0.5).build(4, SHAPE).double().eval()
    )
    x = torch.randn(6, 4, dtype=torch.float64)
    out = module(x)
    assert out.shape == (6, 3)
    assert sum(isinstance(m, torch.nn.Linear) for m in module.modules()) == 2
    assert sum(isinstance(m, torch.nn.BatchNorm1d) for m in module.modules()) == (2 if batch_norm else 0)
    if activation == "linear" and not batch_norm:
        a, b = (m for m in module.modules() if isinstance(m, torch.nn.Linear))
        torch.testing.assert_close(out, b(a(x)))


def test_gelu_is_gelu():
    module = MLP(units=(3,), activation="gelu").build(4, SHAPE)
    (linear,) = (m for m in module.modules() if isinstance(m, torch.nn.Linear))
    x = torch.randn(6, 4)
    torch.testing.assert_close(module(x), torch.nn.functional.gelu(linear(x)))


def test_no_units_change_nothing():
    x = torch.randn(3, 4)
    assert MLP(units=()).width(4) == 4
    assert torch.equal(MLP(units=()).build(4, SHAPE)(x), x)


def test_dropout_acts_in_training_only():
    module, x = MLP(units=(50,), activation="linear", dropout=0.5).build(4, SHAPE), torch.ones(8, 4)
    assert (module.train()(x) == 0).float().mean() > 0.2
    assert not (module.eval()(x) == 0).any()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (MLP(units=(4, 0)), r"^MLP units \(4, 0\) hold a width below 1; give positive widths, as in 400,400\.$"),
        (MLP(dropout=1.0), r"^dropout 1\.0 is not in \[0, 1\); give the share to drop, as in 0\.2\.$"),
    ],
)
def test_nonsense_is_refused(part, message):
    with pytest.raises(CompositionError, match=message):
        part.build(4, SHAPE)
