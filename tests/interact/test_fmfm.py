"""FmFM against loops over pairs."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.interact.fm import FM
from clicksmith.interact.fmfm import FmFM

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def looped(x, weight):
    matrices = weight if weight.dim() == 3 else torch.diag_embed(weight)
    pairs = list(itertools.combinations(range(N), 2))
    return torch.stack([sum(row[i] @ w @ row[j] for w, (i, j) in zip(matrices, pairs, strict=True)) for row in x])


@pytest.mark.reference("fm_fm")
@pytest.mark.parametrize("matrices", ["full", "diagonal"])
def test_every_pair_is_multiplied_under_its_matrix(matrices):
    module = FmFM(matrices=matrices).build(SHAPE).double()
    torch.nn.init.normal_(module.weight)
    x = torch.randn(4, N, DIM, dtype=torch.float64, requires_grad=True)
    given, expected = module(Fields(x)).logit.squeeze(1), looped(x, module.weight)
    torch.testing.assert_close(given, expected)
    scale = torch.randn(4, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((out * scale).sum(), (x, module.weight)) for out in (given, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("matrices", ["full", "diagonal"])
def test_it_starts_as_fm(matrices):
    module, x = FmFM(matrices=matrices).build(SHAPE).double(), torch.randn(4, N, DIM, dtype=torch.float64)
    torch.testing.assert_close(module(Fields(x)).logit, FM().build(SHAPE)(Fields(x)).logit)
