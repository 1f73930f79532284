"""AOANet's interaction layers against the outer products that they never make."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import pair_sum
from clicksmith.interact.generalized import Generalized, GeneralizedLayer

N, DIM, SPACES = 4, 3, 2
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def built(layers):
    module = Generalized(layers=layers, subspaces=SPACES).build(SHAPE).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@torch.no_grad()
def looped(layer, vectors, x):
    out = torch.zeros(SPACES, DIM, dtype=torch.float64)
    for o in range(SPACES):
        fused = torch.zeros(DIM, DIM, dtype=torch.float64)
        for i in range(len(x)):
            for j in range(N):
                fused = fused + layer.pairs[o, i, j] * torch.outer(vectors[j], x[i])
        fused = layer.matrices[o] * fused
        for a in range(DIM):
            for b in range(DIM):
                out[o, a] += fused[a, b] * layer.project[o, b]
    return out


@pytest.mark.reference("generalized")
def test_each_layer_weighs_and_projects_all_outer_products():
    module, x = built(2), torch.randn(3, N, DIM, dtype=torch.float64)
    first, second = module.layers
    expected = [looped(second, row, looped(first, row, row)).flatten() for row in x]
    torch.testing.assert_close(module(Fields(x)).vector, torch.stack(expected))
    assert Generalized(layers=2, subspaces=SPACES).out(SHAPE).width == SPACES * DIM


def test_gradients_are_those_of_finite_differences():
    module, x = built(2), torch.randn(2, N, DIM, dtype=torch.float64, requires_grad=True)
    values = dict(module.named_parameters())

    def run(x, *weights):
        return torch.func.functional_call(module, dict(zip(values, weights, strict=True)), Fields(x)).vector

    assert torch.autograd.gradcheck(run, (x, *(p.detach().requires_grad_() for p in values.values())))


def test_a_layer_starts_as_the_sum_of_all_products():
    layer, x = GeneralizedLayer(N, N, 1, DIM).double(), torch.randn(2, N, DIM, dtype=torch.float64)
    torch.testing.assert_close(layer(x, x)[:, 0], 2 * pair_sum(x) + (x * x).sum(1))


def test_no_layers_are_refused():
    with pytest.raises(CompositionError, match=r"^a generalised interaction of 0 layers and 4 subspaces gives nothing"):
        Generalized(layers=0).out(SHAPE)
