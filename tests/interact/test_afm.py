"""AFM's attention against loops over pairs."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact import afm
from clicksmith.interact.afm import AttentivePairs

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def looped(module, x):
    linear, out = module.hidden, []
    for row in x:
        products = [row[i] * row[j] for i, j in itertools.combinations(range(N), 2)]
        scores = [module.score.weight[0] @ torch.relu(linear.weight @ p + linear.bias) for p in products]
        total = sum(s.exp() for s in scores)
        out.append(sum(s.exp() / total * p for s, p in zip(scores, products, strict=True)))
    return torch.stack(out)


def drawn(**options):
    module = AttentivePairs(width=4, **options).build(SHAPE).double()
    torch.nn.init.normal_(module.hidden.bias)
    return module, torch.randn(4, N, DIM, dtype=torch.float64, requires_grad=True)


@pytest.mark.reference("attentive_pairs")
@pytest.mark.parametrize("chunk", [afm.CHUNK, 12], ids=["one chunk", "many"])
def test_pairs_are_weighed_by_the_softmax_of_their_scores(monkeypatch, chunk):
    monkeypatch.setattr(afm, "CHUNK", chunk)
    module, x = drawn()
    given, expected = module(Fields(x)).vector, looped(module, x)
    torch.testing.assert_close(given, expected)
    assert AttentivePairs(width=4).out(SHAPE).width == given.shape[1]
    with torch.no_grad():
        torch.testing.assert_close(module(Fields(x)).vector, expected)
    scale = torch.randn(4, DIM, dtype=torch.float64)
    wanted = (x, *module.parameters())
    ours, theirs = (torch.autograd.grad((out * scale).sum(), wanted) for out in (given, expected))
    torch.testing.assert_close(ours, theirs)


def test_it_can_be_differentiated_twice():
    module, x = drawn()
    assert torch.autograd.gradgradcheck(lambda v: module(Fields(v)).vector, x)


def test_a_width_below_1_is_refused():
    with pytest.raises(CompositionError, match=r"^the attention of AFM has width 0; give width=1 or more\.$"):
        AttentivePairs(width=0).out(SHAPE)


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
