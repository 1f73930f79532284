"""The interaction machine against the sums of all products."""

from itertools import combinations
from math import prod

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.interaction_machine import InteractionMachine

N, DIM = 5, 3
SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(N)), DIM)


def vectors(rows=2):
    return torch.randn(rows, N, DIM, dtype=torch.float64)


@pytest.mark.reference("interaction_machine")
def test_orders_stand_side_by_side():
    x = vectors()
    for row, given in zip(x.tolist(), InteractionMachine(order=3).build(SHAPE)(Fields(x)).vector, strict=True):
        expected = [
            sum(prod(row[f][d] for f in chosen) for chosen in combinations(range(N), order))
            for order in (1, 2, 3)
            for d in range(DIM)
        ]
        torch.testing.assert_close(given.tolist(), expected)


def test_sums_are_normalised_if_asked():
    x = vectors(6)
    plain, normed = (InteractionMachine(order=3, batch_norm=norm).build(SHAPE).double() for norm in (False, True))
    assert InteractionMachine(order=3).out(SHAPE).width == 3 * DIM
    assert not list(plain.parameters())
    sums = plain(Fields(x)).vector
    expected = (sums - sums.mean(0)) / (sums.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(normed(Fields(x)).vector, expected)


def test_an_order_below_one_is_refused():
    with pytest.raises(CompositionError, match=r"^an interaction machine of order 0 gives nothing; give order=1"):
        InteractionMachine(order=0).out(SHAPE)
