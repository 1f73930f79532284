"""Residual units against their formula."""

import pytest
import torch

from clicksmith.embed.shape import FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.residual import Residual

WIDTH, SHAPE = 6, FieldShape((), 1)


@pytest.mark.reference("residual")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_unit_adds_its_input_before_the_activation(batch_norm):
    part = Residual(units=(4, 3), batch_norm=batch_norm)
    net = part.build(WIDTH, SHAPE).double().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(5, WIDTH, dtype=torch.float64)
    rows = []
    for row in x:
        for unit in net.units:
            inner = next(m for m in unit.inner.modules() if isinstance(m, torch.nn.Linear))
            total = unit.outer.weight @ torch.relu(inner.weight @ row + inner.bias) + unit.outer.bias + row
            if batch_norm:  # the moving averages still are 0 and 1
                total = total / (1 + unit.norm.eps) ** 0.5 * unit.norm.weight + unit.norm.bias
            row = torch.relu(total)
        rows.append(row)
    torch.testing.assert_close(net(x), torch.stack(rows))
    assert part.width(WIDTH) == WIDTH


def test_without_units_it_is_the_identity():
    x = torch.randn(5, WIDTH)
    assert torch.equal(Residual(units=()).build(WIDTH, SHAPE)(x), x)


def test_a_width_below_1_is_refused():
    with pytest.raises(CompositionError, match=r"^MLP units \(0,\) hold a width below 1;"):
        Residual(units=(4, 0)).build(WIDTH, SHAPE)
