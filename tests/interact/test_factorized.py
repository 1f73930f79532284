"""FinalNet's factorised interactions against the loops of their equation."""

import pytest
import torch

from clicksmith.embed.shape import Field, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.factorized import Factorized

SHAPE = FieldShape((Field("f", "id"),), 5)


def built(**options):
    return Factorized(**{"units": (4, 6), "activation": "linear", **options}).build(5, SHAPE).double()


@torch.no_grad()
def looped(layer, row, concat):
    weight, bias = layer.linear.weight, layer.linear.bias
    half = len(weight) // 2
    h = [sum(weight[o, i] * row[i] for i in range(len(row))) + bias[o] for o in range(2 * half)]
    products = [h[o] * h[half + o] for o in range(half)]
    return h[:half] + products if concat else [a + p for a, p in zip(h[:half], products, strict=True)]


@pytest.mark.reference("factorized")
@pytest.mark.parametrize("residual", ["concat", "sum"])
def test_one_half_of_the_units_multiplies_the_other(residual):
    module, x = built(residual=residual), torch.randn(3, 5, dtype=torch.float64)
    first, second = (m for m in module.layers if hasattr(m, "linear"))
    for layer in (first, second):
        torch.nn.init.normal_(layer.linear.bias)
    expected = [looped(second, looped(first, row, residual == "concat"), residual == "concat") for row in x]
    torch.testing.assert_close(module(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("residual", "weights"), [("concat", 5 * 4 + 4 + 4 * 6 + 6), ("sum", 2 * (5 * 4 + 4 + 4 * 6 + 6))]
)
def test_a_sum_has_twice_the_weights_of_dense_layers(residual, weights):
    assert sum(p.numel() for p in built(residual=residual).parameters()) == weights


def test_each_layer_doubles_the_order():
    module, x = built(residual="concat"), torch.randn(2, 5, dtype=torch.float64)
    for layer in (m for m in module.layers if hasattr(m, "linear")):
        torch.nn.init.zeros_(layer.linear.bias)
    line = torch.stack([module(t * x) for t in range(-2, 4)])  # a polynomial of degree 4 in t: fifth differences vanish
    for _ in range(5):
        line = line.diff(dim=0)
    torch.testing.assert_close(line, torch.zeros_like(line), atol=1e-9, rtol=0)


def test_norm_activation_and_dropout_follow_each_layer():
    module = built(activation="relu", batch_norm=True, dropout=0.1)
    kinds = [type(m).__name__ for m in module.layers]
    assert kinds == ["FactorizedLayer", "BatchNorm1d", "ReLU", "Dropout"] * 2


def test_odd_widths_are_refused():
    with pytest.raises(CompositionError, match=r"^factorised layers of units \(5,\) cannot be cut in halves"):
        Factorized(units=(5,)).width(5)
