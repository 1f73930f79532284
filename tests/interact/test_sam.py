"""SAM's layers against loops over pairs of fields."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.sam import PooledFields, WeighedPairs, WeighedSums
from clicksmith.models import model_spec

N, DIM = 4, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def vectors():
    return torch.randn(5, N, DIM, dtype=torch.float64)


@pytest.mark.reference("weighed_pairs")
@pytest.mark.parametrize("weighs", ["A", "E"])
def test_pairs_are_weighed_by_their_dot_product(weighs):
    module, x = randomly(WeighedPairs(weighs=weighs).build(SHAPE)), vectors()
    for b in range(5):
        expected = [
            (x[b, i] @ x[b, j]) * (module.weight[i, j] if weighs == "A" else x[b, i] * x[b, j])
            for i in range(N)
            for j in range(N)
        ]
        torch.testing.assert_close(module(Fields(x)).vector[b], torch.cat(expected))
    assert WeighedPairs().out(SHAPE).width == N * N * DIM


@pytest.mark.reference("weighed_sums")
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("weighs", ["A", "E"])
def test_fields_become_sums_weighed_by_dot_products(weighs, residual):
    module, x = randomly(WeighedSums(layers=2, weighs=weighs, residual=residual).build(SHAPE)), vectors()
    expected = []
    for row in x:
        state = row
        for layer in module.layers:
            key, query = layer.project.weight[:DIM], layer.project.weight[DIM:]
            sums = []
            for i in range(N):
                total = query @ state[i] if residual else torch.zeros(DIM, dtype=torch.float64)
                for j in range(N):
                    weight = layer.weigh.weight[i, j] if weighs == "A" else state[i] * state[j]
                    total = total + (state[i] @ (key @ state[j])) * weight
                sums.append(total)
            state = torch.stack(sums)
        expected.append(state)
    torch.testing.assert_close(module(Fields(x)).vectors, torch.stack(expected))


@pytest.mark.reference("pooled_fields")
@pytest.mark.parametrize("by", ["sum", "mean", "weight"])
def test_fields_are_pooled(by):
    module, x = randomly(PooledFields(by=by).build(SHAPE)), vectors()
    weights = {"sum": [1.0] * N, "mean": [1.0 / N] * N, "weight": module.weight}[by]
    torch.testing.assert_close(module(Fields(x)).vector, sum(w * x[:, i] for i, w in enumerate(weights)))


def test_pairs_take_no_pool():
    with pytest.raises(
        CompositionError, match=r"^sam variant='2A' puts its pairs side by side and takes no pool='sum'"
    ):
        model_spec("sam", variant="2A", pool="sum")


def test_no_layers_are_refused():
    with pytest.raises(CompositionError, match=r"^'weighed_sums' of 0 layers weighs nothing; give layers=1 or more\.$"):
        WeighedSums(layers=0).grow(SHAPE)
