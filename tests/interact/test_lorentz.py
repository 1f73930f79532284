"""LorentzFM against loops over pairs."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.interact.lorentz import LorentzPairs

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def looped(x):
    out = []
    for row in x:
        time = [torch.sqrt(1 + v @ v) for v in row]
        terms = []
        for i, j in itertools.combinations(range(N), 2):
            lorentz = row[i] @ row[j] - time[i] * time[j]
            terms.append((1 - lorentz - time[i] - time[j]) / (time[i] * time[j]))
        out.append(sum(terms))
    return torch.stack(out)


@pytest.mark.reference("lorentz_pairs")
def test_pairs_are_scored_by_the_triangle_inequality():
    x = torch.randn(4, N, DIM, dtype=torch.float64, requires_grad=True)
    given, expected = LorentzPairs().build(SHAPE)(Fields(x)).logit.squeeze(1), looped(x)
    torch.testing.assert_close(given, expected)
    scale = torch.randn(4, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((out * scale).sum(), x)[0] for out in (given, expected))
    torch.testing.assert_close(ours, theirs)


def test_short_vectors_keep_their_digits():
    x = torch.randn(4, N, DIM, dtype=torch.float64) * 1e-4
    single = LorentzPairs().build(SHAPE)(Fields(x.float())).logit
    torch.testing.assert_close(single.double().squeeze(1), looped(x), rtol=1e-3, atol=1e-12)
