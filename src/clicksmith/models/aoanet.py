"""AOANet: learned outer products of fields beside dense layers (Lang et al., KDD 2021)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.generalized import Generalized
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def aoanet(
    *,
    dim: int = 16,
    layers: int = 3,
    subspaces: int = 4,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """A generalised interaction network (weighted outer products in `subspaces`) and dense layers.

    Differs from the paper: no search; all interactions and operations stay, with the weights training gives them, as
    in FuxiCTR.
    """
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    interact = Parallel(blocks=(Stacked(then=(mlp,)), Generalized(layers=layers, subspaces=subspaces)))
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
