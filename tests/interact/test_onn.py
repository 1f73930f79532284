"""ONN's layer against loops over pairs."""

import itertools

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape, View
from clicksmith.errors import CompositionError
from clicksmith.interact.onn import OperationAware


def shape(n):
    fields = tuple(Field(f"f{i}", "id") for i in range(n))
    return FieldShape((), 3, base=fields)


@pytest.mark.reference("operation_aware")
def test_one_vector_is_copied_and_the_others_are_multiplied():
    part, n = OperationAware(dim=2), 4
    assert part.reads() == (View("operation_aware", 2, per="pair"),)
    table = torch.randn(3, n, n, 2, dtype=torch.float64)
    given = part.build(shape(n))(Fields(table[:, 0, :0], views={"operation_aware": table})).vector
    expected = []
    for row in table:
        copied = [row[i, i] for i in range(n)]
        products = [row[i, j] @ row[j, i] for i, j in itertools.combinations(range(n), 2)]
        expected.append(torch.cat([*copied, torch.stack(products)]))
    torch.testing.assert_close(given, torch.stack(expected))
    assert part.out(shape(n)).width == given.shape[1]


def test_one_field_is_refused():
    with pytest.raises(CompositionError, match=r"^'onn' multiplies pairs of fields, and the data has 1; use dnn\.$"):
        OperationAware().out(shape(1))
