"""FLEN's field-wise bi-interaction against loops over groups and pairs."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.interact.flen import FieldWise

DIM = 3


def shape(*roles):
    return FieldShape(tuple(Field(f"f{i}", "id", role) for i, role in enumerate(roles)), DIM)


def looped(x, first, roles, weight):
    """Return [batch, 1 + dim]; the weights in the order of `FieldWiseBlock`."""
    groups = [[i for i, r in enumerate(roles) if r == role] for role in ("user", "item", "context") if role in roles]
    weights, pooled = iter(weight), torch.zeros_like(x[:, 0])
    for m, n in itertools.combinations_with_replacement(range(len(groups)), 2):
        if m < n:
            pooled = pooled + next(weights) * x[:, groups[m]].sum(1) * x[:, groups[n]].sum(1)
        elif len(groups[m]) > 1:
            pooled = pooled + next(weights) * sum(x[:, i] * x[:, j] for i, j in itertools.combinations(groups[m], 2))
    assert next(weights, None) is None
    return torch.cat([first.sum(1), pooled], 1)


@pytest.mark.reference("field_wise")
@pytest.mark.parametrize(
    "roles",
    [
        ("context", "item", "user", "item", "context", "user", "user"),
        ("user", "item", "context"),
        ("item", "context", "context"),
        ("context", "context", "context"),
    ],
    ids=len,
)
def test_pairs_are_weighed_by_their_groups(roles):
    part = FieldWise()
    module = part.build(shape(*roles)).double()
    torch.nn.init.normal_(module.weight)
    x = torch.randn(4, len(roles), DIM, dtype=torch.float64, requires_grad=True)
    first = torch.randn(4, len(roles), 1, dtype=torch.float64)
    given = module(Fields(x, views={"first_order": first})).vector
    expected = looped(x, first, roles, module.weight)
    torch.testing.assert_close(given, expected)
    assert part.out(shape(*roles)).width == given.shape[1]
    scale = torch.randn(4, 1 + DIM, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((out * scale).sum(), (x, module.weight)) for out in (given, expected))
    torch.testing.assert_close(ours, theirs)
