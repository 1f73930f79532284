"""Higher orders against loops over subsets of fields."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape, View
from clicksmith.errors import CompositionError
from clicksmith.interact.fm import FM
from clicksmith.interact.hofm import HigherOrder

N, DIM = 6, 3
FIELDS = tuple(Field(f"f{i}", "id") for i in range(N))
SHAPE = FieldShape(FIELDS, DIM, base=FIELDS)


def looped(x, order):
    """Return [batch, dim]."""
    return sum(x[:, list(chosen)].prod(1) for chosen in itertools.combinations(range(N), order))


def vectors():
    return torch.randn(4, N, DIM, dtype=torch.float64)


@pytest.mark.reference("higher_order")
@pytest.mark.parametrize("order", [2, 3, 4])
def test_each_order_reads_vectors_of_its_own(order):
    part = HigherOrder(order=order, dim=DIM)
    assert part.reads() == ("vectors", *(View(f"order_{k}", DIM) for k in range(3, order + 1)))
    x, views = vectors(), {f"order_{k}": vectors() for k in range(3, order + 1)}
    expected = looped(x, 2).sum(1) + sum(looped(views[f"order_{k}"], k).sum(1) for k in range(3, order + 1))
    torch.testing.assert_close(part.build(SHAPE)(Fields(x, views=views)).logit.squeeze(1), expected)


@pytest.mark.reference("higher_order")
def test_shared_vectors_serve_every_order():
    part, x = HigherOrder(order=4, shared=True), vectors()
    assert part.reads() == ("vectors",)
    torch.testing.assert_close(part.build(SHAPE)(Fields(x)).logit, sum(looped(x, k) for k in (2, 3, 4)).sum(1)[:, None])


def test_order_2_is_fm():
    x = vectors()
    given = HigherOrder(order=2).build(SHAPE)(Fields(x)).logit
    torch.testing.assert_close(given, FM().build(SHAPE)(Fields(x)).logit)


@pytest.mark.parametrize("order", [1, 7])
def test_an_order_that_the_fields_cannot_make_is_refused(order):
    said = rf"^'higher_order' of order {order} multiplies 2 to {order} fields, and the data has 6; give an order from 2"
    with pytest.raises(CompositionError, match=said):
        HigherOrder(order=order).out(SHAPE)
