"""DSSM: a user tower and an item tower that meet in a dot product (Huang et al., CIKM 2013).

Differs from the paper: fields' vectors in the place of letter trigrams, a dot product in that of the cosine, both as in
the common implementation; the user tower reads every field that the item tower does not.
"""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import Select
from clicksmith.head.binary import Binary
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.picked import Picked
from clicksmith.interact.two_tower import TwoTower
from clicksmith.models.spec import ModelSpec


def dssm(
    *,
    dim: int = 16,
    item_fields: tuple[str, ...] = (),
    user_units: tuple[int, ...] = (400, 400, 400),
    item_units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    user_dropout: float = 0.2,
    item_dropout: float = 0.2,
) -> ModelSpec:
    """A tower of dense layers for the item's fields and one for all others; their dot product is the score.

    `item_fields` names the item tower's fields; without, they are those of role item. The last of the units has no
    activation, and its constants stand for the head's.
    """
    items = Select(names=item_fields) if item_fields else Select(roles=("item",))
    towers = tuple(
        Stacked(
            first=Picked(of=items, others=others),
            then=(
                MLP(units=units[:-1], activation=activation, batch_norm=batch_norm, dropout=dropout),
                MLP(units=units[-1:], activation="linear"),
            ),
        )
        for others, units, dropout in ((True, user_units, user_dropout), (False, item_units, item_dropout))
    )
    return ModelSpec(
        embed=Embed(dim=dim), interact=TwoTower(first=towers[0], second=towers[1]), head=Binary(bias=False)
    )
