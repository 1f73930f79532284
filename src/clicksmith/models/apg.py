"""APG: dense layers whose weights are made for each row (Yan et al., NeurIPS 2022)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.adaptive import AdaptiveMLP
from clicksmith.interact.compose import Parallel, Stacked
from clicksmith.interact.cross import MatrixCross
from clicksmith.interact.fm import FM
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec
from clicksmith.schema.columns import Role

SPACE = {"over": []}  # the same function, trained otherwise


def apg(
    *,
    dim: int = 16,
    base: Literal["dnn", "deepfm", "dcnv2"] = "dcnv2",
    layers: int = 3,
    condition: tuple[str, ...] = (),
    condition_roles: tuple[Role, ...] = (),
    condition_dim: int = 16,
    ranks: tuple[int, ...] = (8,),
    over: tuple[int, ...] = (64,),
    generator_units: tuple[int, ...] = (),
    make_bias: bool = True,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.2,
) -> ModelSpec:
    """Dense layers whose weights are made for each row, in a model of your choice.

    `base`: what stands beside the dense layers: nothing, a factorisation machine, or a cross network of `layers`.
    `condition` and `condition_roles` choose the fields that the weights are made from, with vectors of `condition_dim`
    of their own; without either, each layer's input makes its weights.
    `ranks` and `over`: one number for all layers, or one for each of `units`.
    Differs from the common implementation: weights made for a row start near the identity, not near zero, and the
    chosen fields' vectors are the condition's own, never the model's.
    """
    adaptive = AdaptiveMLP(
        dim=condition_dim, fields=condition, roles=condition_roles, units=units, ranks=ranks, over=over,
        generator_units=generator_units, make_bias=make_bias, activation=activation, batch_norm=batch_norm,
        dropout=dropout,
    )  # fmt: skip
    deep = Stacked(then=(adaptive,))
    beside = {
        "dnn": (),
        "deepfm": (FirstOrder(), FM()),
        "dcnv2": (Stacked(then=(MatrixCross(layers=layers),)),),
    }[base]
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(*beside, deep)) if beside else deep)
