"""DESTINE's attention against the loops of its equations."""

import math

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.disentangled import DisentangledAttention

N, DIM, WIDTH, HEADS = 4, 3, 6, 2
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def built(**options):
    return DisentangledAttention(**{"layers": 1, "width": WIDTH, "heads": HEADS, **options}).build(SHAPE).double()


def vectors(rows=3):
    return torch.randn(rows, N, DIM, dtype=torch.float64)


def softmax(scores):
    weights = [math.exp(s) for s in scores]
    return [w / sum(weights) for w in weights]


@torch.no_grad()
def looped(layer, x, *, relu=False, scale=False):
    """One row: x [fields, dim] to [fields, width]."""
    projected = x @ layer.project.weight.t()
    if layer.project.bias is not None:
        projected = projected + layer.project.bias
    query, key, value, *residual = projected.split(WIDTH, -1)
    if relu:
        query, key, value = query.relu(), key.relu(), value.relu()
    out = residual[0].clone() if residual else torch.zeros(N, WIDTH, dtype=torch.float64)
    depth = WIDTH // HEADS
    for h in range(HEADS):
        q, k, v = (t[:, h * depth : (h + 1) * depth] for t in (query, key, value))
        q, k = q - q.mean(0), k - k.mean(0)
        unary = softmax([float(layer.unary.weight[h] @ x[j]) for j in range(N)])
        for i in range(N):
            scores = [float(q[i] @ k[j]) / (math.sqrt(depth) if scale else 1) for j in range(N)]
            for j, pairwise in enumerate(softmax(scores)):
                out[i, h * depth : (h + 1) * depth] += (pairwise + unary[j]) * v[j]
    return out


@pytest.mark.reference("disentangled_attention")
@pytest.mark.parametrize("options", [{}, {"scale": True}, {"projection": "relu"}, {"residual": "none"}])
@pytest.mark.parametrize("grad", [True, False])
def test_attention_is_a_pairwise_and_a_unary_share(options, grad):
    module, x = built(**options), vectors()
    if module.layers[0].project.bias is not None:
        torch.nn.init.normal_(module.layers[0].project.bias)
    given = {"relu": options.get("projection") == "relu", "scale": options.get("scale", False)}
    expected = torch.stack([looped(module.layers[0], row, **given) for row in x])
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(module(Fields(x)).vectors, expected)


def test_a_residual_after_the_last_layer_is_of_the_fields():
    module, x = built(layers=2, residual="last"), vectors()
    attended = module.layers[1](module.layers[0](x))
    torch.testing.assert_close(module(Fields(x)).vectors, attended + x @ module.residual.weight.t())


def test_dropout_drops_weights_of_both_kinds_together_and_keeps_the_mean():
    module, x = built(dropout=0.5), vectors(1)
    layer, dropped = module.layers[0], built(dropout=0.5).layers[0]
    dropped.load_state_dict(layer.state_dict())
    dropped.dropout = 1e-12
    torch.testing.assert_close(dropped(x), layer.eval()(x))
    many = layer.train()(x.expand(20_000, -1, -1)).mean(0)
    torch.testing.assert_close(many, layer.eval()(x)[0], atol=0.2, rtol=0)


def test_constants_of_queries_keys_and_unary_scores_cancel():
    module, x = built(projection="bias"), vectors()
    before = module(Fields(x)).vectors
    with torch.no_grad():
        module.layers[0].project.bias[: 2 * WIDTH].normal_()
        module.layers[0].unary.bias.normal_()
    torch.testing.assert_close(module(Fields(x)).vectors, before)


def test_gradients_are_those_of_finite_differences():
    module, x = built(layers=2), vectors(2).requires_grad_()
    values = dict(module.named_parameters())

    def run(x, *weights):
        return torch.func.functional_call(module, dict(zip(values, weights, strict=True)), Fields(x)).vectors

    assert torch.autograd.gradcheck(run, (x, *(p.detach().requires_grad_() for p in values.values())))


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(CompositionError, match=r"width=7, heads=2: give .* a multiple of the heads"):
        DisentangledAttention(width=7).grow(SHAPE)
