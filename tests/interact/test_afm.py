"""AFM's attention against loops over pairs."""

import itertools

import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.interact.afm import AttentivePairs

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def test_pairs_are_weighed_by_the_softmax_of_their_scores():
    part = AttentivePairs(width=4)
    module = part.build(SHAPE).double().eval()
    linear = module.hidden.layers[0]
    torch.nn.init.normal_(linear.bias)
    x = torch.randn(4, N, DIM, dtype=torch.float64)
    expected = []
    for row in x:
        products = [row[i] * row[j] for i, j in itertools.combinations(range(N), 2)]
        scores = [module.score.weight[0] @ torch.relu(linear.weight @ p + linear.bias) for p in products]
        total = sum(s.exp() for s in scores)
        expected.append(sum(s.exp() / total * p for s, p in zip(scores, products, strict=True)))
    given = module(Fields(x)).vector
    torch.testing.assert_close(given, torch.stack(expected))
    assert part.out(SHAPE).width == given.shape[1]


def test_equal_scores_average_the_pairs():
    module = AttentivePairs(width=4).build(SHAPE).double().eval()
    torch.nn.init.zeros_(module.score.weight)
    x = torch.randn(4, N, DIM, dtype=torch.float64)
    pairs = list(itertools.combinations(range(N), 2))
    torch.testing.assert_close(module(Fields(x)).vector, sum(x[:, i] * x[:, j] for i, j in pairs) / len(pairs))


def test_dropout_acts_in_training_only():
    module, x = AttentivePairs(attention_dropout=0.5, dropout=0.5).build(SHAPE), torch.randn(4, N, DIM)
    assert (module.train()(Fields(x)).vector == 0).any()
    assert not (module.eval()(Fields(x)).vector == 0).any()
