"""FLEN: products within and between the fields of user, item and context, and dense layers (Chen et al., 2020).

Differs from the paper: no Dicefactor (its dropout); from the common implementation: the layer over first order and
products has a constant, in the place of the first order's own.
"""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.flen import FieldWise
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def flen(
    *,
    dim: int = 16,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers beside the products of fields within and between the roles user, item and context."""
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    wise = Stacked(first=FieldWise(), then=(MLP(units=(dim + 1,)),))
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(wise, Stacked(then=(mlp,)))))
