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
@pytest.mark.parametrize(("ranks", "over"), [((2,), (0,)), ((2,), (6,)), ((3, 2), (4, 0))])
@pytest.mark.parametrize("chosen", [(), ("item",)])
def test_each_row_has_weights_of_its_own(chosen, ranks, over, make_bias):
    units = (6, 5)
    part = AdaptiveMLP(
        dim=3, fields=chosen, units=units, ranks=ranks, over=over, make_bias=make_bias, generator_units=(4,)
    )
    module, given, x = randomly(part.build(7, SHAPE)), fields(), torch.randn(5, 7, dtype=torch.float64)
    for b in range(5):
        state = x[b]
        for i, linear in enumerate(module.maps):
            rank, inner = ranks[i % len(ranks)], over[i % len(over)]
            condition = given.views["condition"][b].flatten() if chosen else state
            hidden = linear.hidden.layers[0]
            made = linear.make.weight @ torch.relu(hidden.weight @ condition + hidden.bias) + linear.make.bias
            core = made[: rank * rank].view(rank, rank)
            into = linear.into[0] @ linear.into[1] if inner else linear.into[0]
            out = linear.out[0] @ linear.out[1] if inner else linear.out[0]
            weight = into @ core @ out
            state = torch.relu(state @ weight + (made[rank * rank :] if make_bias else linear.bias))
        torch.testing.assert_close(module(x, given)[b], state)
    assert part.width(7) == 5


def test_without_a_condition_to_speak_of_the_layers_are_low_rank():
    module, given = (
        AdaptiveMLP(dim=3, fields=("item",), units=(6,), ranks=(2,), over=(0,)).build(7, SHAPE).double(),
        fields(),
    )
    given.views["condition"].zero_()
    x = torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(module.eval()(x, given), torch.relu(x @ module.maps[0].into[0] @ module.maps[0].out[0]))


def test_nonsense_sizes_are_refused():
    with pytest.raises(CompositionError, match=r"ranks=\(0,\), over=\(64,\) adapt nothing;"):
        AdaptiveMLP(ranks=(0,)).width(3)
    with pytest.raises(
        CompositionError, match=r"ranks=\(4, 2\) is for 2 layers, units=\(400, 400, 400\) makes 3; give"
    ):
        AdaptiveMLP(ranks=(4, 2)).width(3)
