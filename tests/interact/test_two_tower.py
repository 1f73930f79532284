"""Towers, chosen fields and residual units against their formulas."""

import pytest
import torch

from clicksmith.embed.shape import Field, Fields, FieldShape, Select
from clicksmith.errors import CompositionError
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.copies import Copies
from clicksmith.interact.fm import FM
from clicksmith.interact.mlp import MLP
from clicksmith.interact.picked import Picked
from clicksmith.interact.two_tower import TwoTower

DIM = 3
ROLES = {"user": "user", "item": "item", "hour": "context", "price": "item"}
SHAPE = FieldShape(
    tuple(Field(name, "numeric" if name == "price" else "id", role) for name, role in ROLES.items()), DIM
)
ITEM = Select(roles=("item",))


def vectors():
    return torch.randn(4, len(ROLES), DIM, dtype=torch.float64)


@pytest.mark.reference("picked")
@pytest.mark.parametrize(
    ("part", "chosen"),
    [
        (Picked(of=ITEM), [1, 3]),
        (Picked(of=ITEM, others=True), [0, 2]),
        (Picked(of=Select(names=("hour", "item"))), [1, 2]),
        (Picked(of=Select(kinds=("numeric",))), [3]),
        (Picked(), [0, 1, 2, 3]),
    ],
)
def test_fields_are_chosen_by_name_role_or_kind(part, chosen):
    x = vectors()
    given = part.build(SHAPE)(Fields(x)).vector
    torch.testing.assert_close(given, torch.stack([torch.cat([row[i] for i in chosen]) for row in x]))
    assert part.out(SHAPE).width == given.shape[1]


def test_nothing_chosen_is_refused_unless_it_may_be():
    bags = Select(kinds=("bag",), roles=("user",))
    with pytest.raises(CompositionError) as error:
        Picked(of=bags).out(SHAPE)
    assert str(error.value) == (
        "'picked' takes the fields of roles user, kinds bag, and the data has none; set the columns' roles in the "
        "schema, or choose the fields by name."
    )
    with pytest.raises(CompositionError, match=r"^'picked' takes the fields outside any name, and the data has none;"):
        Picked(others=True).out(SHAPE)
    part = Picked(of=bags, optional=True)
    assert part.out(SHAPE).width == 0
    assert part.build(SHAPE)(Fields(vectors())).vector is None


def test_a_misspelt_field_names_the_nearest():
    with pytest.raises(CompositionError, match=r"^names of 'picked': no field named 'itme'\. Did you mean 'item'\?$"):
        Picked(of=Select(names=("itme",))).out(SHAPE)


def tower(*, others, units=(5, 2)):
    layers = (MLP(units=units[:-1]), MLP(units=units[-1:], activation="linear"))
    return Stacked(first=Picked(of=ITEM, others=others), then=layers)


@pytest.mark.reference("two_tower")
def test_towers_meet_in_a_dot_product():
    module = TwoTower(first=tower(others=True), second=tower(others=False)).build(SHAPE).double()
    x, logits = vectors(), []
    for row in x:
        sides = []
        for side, chosen in ((module.first, (0, 2)), (module.second, (1, 3))):
            hidden, last = (m for m in side.modules() if isinstance(m, torch.nn.Linear))
            inner = torch.relu(hidden.weight @ torch.cat([row[i] for i in chosen]) + hidden.bias)
            sides.append(last.weight @ inner + last.bias)
        logits.append(sum(a * b for a, b in zip(*sides, strict=True)))
    torch.testing.assert_close(module(Fields(x)).logit.squeeze(1), torch.stack(logits))


def test_towers_of_different_widths_are_refused():
    part = TwoTower(first=tower(others=True), second=tower(others=False, units=(5, 4)))
    with pytest.raises(CompositionError, match=r"^the towers of 'two_tower' give vectors of 2 and 4 numbers; a dot"):
        part.out(SHAPE)


def test_towers_that_give_a_logit_or_groups_are_refused():
    wide = Parallel(blocks=(FM(), tower(others=True)))
    with pytest.raises(CompositionError, match=r"^a tower of 'two_tower' gives a logit, .* beside 'two_tower' with Pa"):
        TwoTower(first=tower(others=False), second=wide).out(SHAPE)
    experts = Copies(block=tower(others=True), count=8)
    with pytest.raises(CompositionError, match=r"^a tower of 'two_tower' gives 8 groups, .*; leave Copies out of the"):
        TwoTower(first=experts, second=experts).out(SHAPE)
