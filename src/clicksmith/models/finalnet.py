"""FinalNet: one or two blocks of factorised interactions instead of dense layers (Zhu et al., SIGIR 2023)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.errors import CompositionError
from clicksmith.fields.field_gate import FieldGate
from clicksmith.head.branches import BranchMean
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.factorized import Factorized, Residual
from clicksmith.models.spec import ModelSpec


def finalnet(
    *,
    dim: int = 16,
    blocks: Literal[1, 2] = 2,
    gate: bool = True,
    units1: tuple[int, ...] = (400, 400),
    units2: tuple[int, ...] = (400,),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout1: float = 0.1,
    dropout2: float = 0.1,
    residual: Residual = "concat",
    distil: bool = False,
    bias_each: bool = False,
) -> ModelSpec:
    """Layers that multiply one half of their units by the other, in one block or in two side by side.

    `gate` puts a field gate in front of the first block; `units2` and `dropout2` are of the second.
    `distil` is the paper's loss for two blocks: each also learns from what the mean of both predicts. It is off, as it
    was in BARS' tuned runs (their version of FuxiCTR ignored it); the model's logit is then the sum of the blocks, not
    their mean, which a factor in the output layer makes equal. With it every block has a constant of its own.
    """
    if blocks not in (1, 2):
        raise CompositionError(f"finalnet: blocks={blocks}; give 1 or 2.")
    sizes = ((units1, dropout1), (units2, dropout2))[:blocks]
    layers = [
        Factorized(units=units, residual=residual, activation=activation, batch_norm=batch_norm, dropout=dropout)
        for units, dropout in sizes
    ]
    first = Stacked(transforms=(FieldGate(),) if gate else (), then=(layers[0],))
    rest = tuple(Stacked(then=(layer,)) for layer in layers[1:])
    if not distil:
        return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(first, *rest), bias_each=bias_each))
    if blocks == 1 or not units1 or not units2:
        raise CompositionError(
            f"finalnet: distil=True teaches two blocks what their mean predicts; got blocks={blocks}, units1={units1}, "
            f"units2={units2}. Give two blocks of one layer or more, or distil=False."
        )
    head = BranchMean(widths=(units1[-1], units2[-1]))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(first, *rest)), head=head)
