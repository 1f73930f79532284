"""DeepIM: sums of products of any k fields beside dense layers (Yu et al., CIKM 2020)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.interaction_machine import InteractionMachine
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def deepim(
    *,
    dim: int = 16,
    order: int = 3,
    order_norm: bool = False,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
    bias_each: bool = False,
) -> ModelSpec:
    """An interaction machine (products of up to `order` fields, by Newton's identities) and dense layers.

    `order_norm` normalises the sums of each order over the batch.
    Differs from FuxiCTR: any order, not up to 5; one output layer, whose second, redundant
    constant `bias_each` adds.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    machine = InteractionMachine(order=order, batch_norm=order_norm)
    interact = Parallel(blocks=(machine, Stacked(then=(mlp,))), bias_each=bias_each)
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
