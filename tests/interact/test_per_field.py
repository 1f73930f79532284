"""Maps and normalisations per field against one field after another."""

import pytest
import torch

from clicksmith.interact.per_field import PerField, PerFieldNorm


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize("bias", [True, False])
def test_each_field_is_mapped_by_its_own_matrix(bias):
    module, x = randomly(PerField(3, 4, 2, bias=bias)), torch.randn(5, 3, 4, dtype=torch.float64)
    expected = torch.zeros(5, 3, 2, dtype=torch.float64)
    for b in range(5):
        for f in range(3):
            for o in range(2):
                expected[b, f, o] = sum(x[b, f, i] * module.weight[f, i, o] for i in range(4))
                if bias:
                    expected[b, f, o] += module.bias[f, o]
    torch.testing.assert_close(module(x), expected)


def test_each_field_is_normalised_with_its_own_scale():
    module, x = randomly(PerFieldNorm(3, 4)), torch.randn(5, 3, 4, dtype=torch.float64)
    for f in range(3):
        norm = torch.nn.LayerNorm(4).double()
        with torch.no_grad():
            norm.weight.copy_(module.scale[f])
            norm.bias.copy_(module.shift[f])
        torch.testing.assert_close(module(x)[:, f], norm(x[:, f]))
