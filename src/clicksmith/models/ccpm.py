"""CCPM: convolutions over the fields with flexible max pooling (Liu et al., CIKM 2015)."""

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.kmax_convolution import KMaxConvolution
from clicksmith.models.spec import ModelSpec


def ccpm(
    *,
    dim: int = 16,
    channels: tuple[int, ...] = (4, 4, 2),
    kernels: tuple[int, ...] = (6, 5, 3),
    activation: Activation = "tanh",
) -> ModelSpec:
    """Convolutions over neighbouring fields, each followed by a pooling that keeps the largest values in order.

    Differs from the paper: a channel's convolution is the same for all coordinates of a vector, as in FuxiCTR.
    """
    convolution = KMaxConvolution(channels=channels, kernels=kernels, activation=activation)
    return ModelSpec(embed=Embed(dim=dim), interact=convolution)
