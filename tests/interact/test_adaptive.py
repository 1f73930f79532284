"""APG's layers against weights that are made row by row."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape
from clicksmith.errors import CompositionError
from clicksmith.interact.adaptive import AdaptiveMLP

NAMES = (Field("user", "id", "user"), Field("item", "id", "item"), Field("hour", "id"))
SHAPE = FieldShape(NAMES, 4, base=NAMES)


def randomly(module):
    for parameter in module.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def fields():
    return Fields(
        torch.randn(5, 3, 4, dtype=torch.float64), views={"condition": torch.randn(5, 1, 3, dtype=torch.float64)}
    )


@pytest.mark.reference("adaptive_mlp")
@pytest.mark.parametrize("make_bias", [True, False])
@pytest.mark.parametrize("over", [0, 6])
@pytest.mark.parametrize("chosen", [(), ("item",)])
def test_each_row_has_weights_of_its_own(chosen, over, make_bias):
    rank, units = 2, (6, 5)
    part = AdaptiveMLP(
        dim=3, fields=chosen, units=units, rank=rank, over=over, make_bias=make_bias, generator_units=(4,)
    )
    module, given, x = randomly(part.build(7, SHAPE)), fields(), torch.randn(5, 7, dtype=torch.float64)
    for b in range(5):
        state = x[b]
        for linear in module.maps:
            condition = given.views["condition"][b].flatten() if chosen else state
            hidden = linear.hidden.layers[0]
            made = linear.make.weight @ torch.relu(hidden.weight @ condition + hidden.bias) + linear.make.bias
            core = made[: rank * rank].view(rank, rank)
            into = linear.into[0] @ linear.into[1] if over else linear.into[0]
            out = linear.out[0] @ linear.out[1] if over else linear.out[0]
            weight = into @ core @ out
            state = torch.relu(state @ weight + (made[rank * rank :] if make_bias else linear.bias))
        torch.testing.assert_close(module(x, given)[b], state)
    assert part.width(7) == 5


def test_without_a_condition_to_speak_of_the_layers_are_low_rank():
    module, given = AdaptiveMLP(dim=3, fields=("item",), units=(6,), rank=2, over=0).build(7, SHAPE).double(), fields()
    given.views["condition"].zero_()
    x = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(module.eval()(x, given), torch.relu(x @ module.maps[0].into[0] @ module.maps[0].out[0]))


def test_nonsense_sizes_are_refused():
    with pytest.raises(CompositionError, match=r"rank=0, over=64 adapt nothing;"):
        AdaptiveMLP(rank=0).width(3)
