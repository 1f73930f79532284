"""EDCN: a cross network and dense layers that share what they learn (Chen et al., CIKM 2021)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.bridged import Bridge, Bridged
from clicksmith.models.spec import ModelSpec


def edcn(
    *,
    dim: int = 16,
    layers: int = 3,
    bridge: Bridge = "product",
    regulate: bool = True,
    temperature: float = 1.0,
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.2,
) -> ModelSpec:
    """A cross network and dense layers with a bridge after each layer and weights on the fields before it.

    `regulate` weighs the fields, `temperature` evens the weights out; `batch_norm` is of the inputs of the layers.
    Differs from the paper: no attention among the bridges.
    """
    return ModelSpec(
        embed=Embed(dim=dim),
        interact=Bridged(
            layers=layers,
            bridge=bridge,
            regulate=regulate,
            temperature=temperature,
            batch_norm=batch_norm,
            activation=activation,
            dropout=dropout,
        ),
    )
