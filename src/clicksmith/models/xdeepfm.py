"""xDeepFM: first order, a compressed interaction network and dense layers (Lian et al., KDD 2018)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.cin import CIN
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.linear import FirstOrder
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def xdeepfm(
    *,
    dim: int = 16,
    cin_units: tuple[int, ...] = (64, 64),
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
    bias_each: bool = False,
) -> ModelSpec:
    """First order, a compressed interaction network and dense layers; without `units`, no dense layers.

    Differs from the authors' code: no feature map is held back from the next layer or from the sum, as in the text.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    deep = (Stacked(then=(mlp,)),) if units else ()
    interact = Parallel(blocks=(FirstOrder(), CIN(units=cin_units), *deep), bias_each=bias_each)
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
