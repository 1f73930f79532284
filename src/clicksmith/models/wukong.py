"""Wukong: stacked factorisation machines that scale (Zhang et al., ICML 2024)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.wukong import Wukong
from clicksmith.models.spec import ModelSpec


def wukong(
    *,
    dim: int = 16,
    layers: int = 3,
    products: int = 40,
    linear: int = 40,
    rank: int = 8,
    product_units: tuple[int, ...] = (512, 256),
    norm: bool = True,
    units: tuple[int, ...] = (512, 256),
    activation: Activation = "relu",
    batch_norm: bool = True,
    dropout: float = 0.0,
) -> ModelSpec:
    """Factorisation machines stacked on each other, then dense layers.

    Each layer gives `products` fields from the dot products of its fields with `rank` combinations of them, through
    dense `product_units`, and `linear` fields by a linear map. `dropout` is that of `product_units`.
    Differs from the common implementation: all matrices start Xavier-normal, there the combinations standard normal.
    """
    stack = Wukong(
        layers=layers, products=products, linear=linear, rank=rank, units=product_units, norm=norm, dropout=dropout
    )
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(transforms=(stack,), then=(mlp,)))
