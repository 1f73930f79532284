"""InterHAt's encoder and hierarchy against loops over heads, fields and orders."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.hierarchy import FieldEncoder, Hierarchy

N, DIM = 4, 6
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def vectors():
    return torch.randn(3, N, DIM, dtype=torch.float64)


@pytest.mark.reference("field_encoder")
@pytest.mark.parametrize(("width", "norm", "residual"), [(DIM, True, True), (4, False, True), (4, True, False)])
def test_the_encoder_attends_and_maps_each_field(width, norm, residual):
    module = randomly(FieldEncoder(width=width, heads=2, inner=5, norm=norm, residual=residual).build(SHAPE))
    x, depth = vectors(), width // 2
    query, key, value = module.attention.layers[0].project.weight.chunk(3)
    expected = []
    for row in x:
        out = []
        for i in range(N):
            heads = []
            for h in range(2):
                own = slice(h * depth, h * depth + depth)
                scores = [(query[own] @ row[i]) @ (key[own] @ row[j]) / depth**0.5 for j in range(N)]
                weights = torch.softmax(torch.stack(scores), 0)
                heads.append(sum(w * (value[own] @ row[j]) for j, w in enumerate(weights)))
            attended = module.back(torch.relu(torch.cat(heads)))
            middle = module.norms[0](attended + row[i] if residual else attended)
            mapped = module.narrow.weight @ torch.relu(module.widen.weight @ middle + module.widen.bias)
            mapped = mapped + module.narrow.bias
            out.append(module.norms[1](mapped + middle if residual else mapped))
        expected.append(torch.stack(out))
    torch.testing.assert_close(module(Fields(x)).vectors, torch.stack(expected))


@pytest.mark.reference("hierarchy")
def test_each_order_is_built_on_the_summary_of_the_one_before():
    module, x = randomly(Hierarchy(orders=3, inner=5).build(SHAPE)), vectors()

    def pooled(pool, items):
        scores = [pool.score.weight[0] @ torch.relu(pool.hidden.weight @ v + pool.hidden.bias) for v in items]
        return sum(w * v for w, v in zip(torch.softmax(torch.stack(scores), 0), items, strict=True))

    for row, out in zip(x, module(Fields(x)).vector, strict=True):
        first = pooled(module.pools[0], row)
        state = [first * v + v for v in row]
        second = pooled(module.pools[1], state)
        state = [second * v + old for v, old in zip(row, state, strict=True)]
        third = pooled(module.pools[2], state)
        torch.testing.assert_close(out, pooled(module.last, [first, second, third]))
    assert Hierarchy().out(SHAPE).width == DIM


def test_what_cannot_be_is_refused():
    with pytest.raises(
        CompositionError, match=r"^a hierarchy of orders=1 has no interactions; give orders=2 or more\.$"
    ):
        Hierarchy(orders=1).out(SHAPE)
    with pytest.raises(CompositionError, match=r"^attention width 5 is not divisible by heads=2;"):
        FieldEncoder(width=5, heads=2).grow(SHAPE)
