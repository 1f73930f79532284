"""QNN-alpha's layers against loops over rows and coordinates."""

import pytest
import torch

from clicksmith.embed.shape import FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.quadratic import Quadratic


@pytest.mark.reference("quadratic")
def test_each_coordinate_is_multiplied_by_what_dense_rows_say():
    width, rows = 5, 3
    module = Quadratic(layers=2, rows=rows, batch_norm=False).build(width, FieldShape((), 1)).double().eval()
    x = torch.randn(4, width, dtype=torch.float64)
    expected = []
    for row in x:
        state = row
        for layer in module.layers:
            linear = layer.layers[0]
            said = [torch.relu(linear.weight[r] @ state + linear.bias[r]) for r in range(rows * width)]
            state = torch.stack(
                [state[i] * sum(said[r * width + i] for r in range(rows)) + state[i] for i in range(width)]
            )
        expected.append(state)
    torch.testing.assert_close(module(x), torch.stack(expected))


def test_nonsense_sizes_are_refused():
    with pytest.raises(CompositionError, match=r"^quadratic layers=3, rows=0: both must be 1 or more"):
        Quadratic(rows=0).width(3)
