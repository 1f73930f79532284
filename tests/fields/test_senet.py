"""SENet against loops."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.fields.senet import SENet

SHAPE = FieldShape(tuple(Field(f"f{i}", "id") for i in range(4)), 3)


@pytest.mark.reference("se_net")
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_fields_are_weighed_by_what_their_means_say(activation):
    module, x = (
        SENet(reduction=2, activation=activation).build(SHAPE).double(),
        torch.randn(5, 4, 3, dtype=torch.float64),
    )
    assert module.squeeze.weight.shape == (2, 4)
    act = torch.relu if activation == "relu" else torch.sigmoid
    for row, out in zip(x, module(Fields(x)).vectors, strict=True):
        means = torch.stack([v.sum() / 3 for v in row])
        middle = torch.stack([torch.relu(w @ means) for w in module.squeeze.weight])
        weights = [act(w @ middle) for w in module.excite.weight]
        torch.testing.assert_close(out, torch.stack([a * v for a, v in zip(weights, row, strict=True)]))


def test_the_middle_has_at_least_one_unit():
    assert SENet(reduction=100).build(SHAPE).squeeze.weight.shape == (1, 4)


def test_a_reduction_of_0_is_refused():
    with pytest.raises(CompositionError, match=r"^SENet reduction 0 is not a number above 0; use 3 to squeeze"):
        SENet(reduction=0).build(SHAPE)
