"""FGCNN: new fields by convolution, then IPNN on all of them (Liu et al., WWW 2019)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.fields.fgcnn import FGCNN
from clicksmith.interact.compose import Flat, Parallel, Stacked
from clicksmith.interact.mlp import MLP
from clicksmith.interact.pnn import InnerProducts
from clicksmith.models.spec import ModelSpec

SPACE = {"kernel": [3, 5, 7, 9], "maps": [1, 2, 3]}


def fgcnn(
    *,
    dim: int = 16,
    channels: tuple[int, ...] = (14, 16, 18, 20),
    kernel: int = 7,
    pool: int = 2,
    maps: int = 3,
    share: bool = False,
    conv_batch_norm: bool = True,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> ModelSpec:
    """New fields by convolution over the fields, then IPNN on all of them.

    Paper: fgcnn.
    """
    generate = FGCNN(
        dim=dim, channels=channels, kernel=kernel, pool=pool, maps=maps, share=share, batch_norm=conv_batch_norm
    )
    mlp = MLP(units=units, activation=activation, batch_norm=batch_norm, dropout=dropout)
    products = Parallel(blocks=(Flat(), InnerProducts()))
    return ModelSpec(embed=Embed(dim=dim), transforms=(generate,), interact=Stacked(first=products, then=(mlp,)))
