"""MaskNet: dense layers on vectors that a mask of the row's own multiplies (Wang et al., DLP-KDD 2021)."""

from typing import Literal

from clicksmith.embed.activation import Activation
from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Flat, Stacked
from clicksmith.interact.masks import MaskBlocks, NormedFlat
from clicksmith.interact.mlp import MLP
from clicksmith.models.spec import ModelSpec


def masknet(
    *,
    dim: int = 16,
    structure: Literal["serial", "parallel"] = "parallel",
    blocks: int = 3,
    block_units: int = 64,
    ratio: float = 2.0,
    norm_vectors: bool = True,
    norm: bool = True,
    units: tuple[int, ...] = (400, 400, 400),
    activation: Activation = "relu",
    dropout: float = 0.1,
) -> ModelSpec:
    """Dense layers on vectors that a mask of the row's own multiplies.

    `structure`: `serial`, a mask block for each of `units`, one after another; `parallel`, `blocks` of them of
    `block_units` side by side, and dense `units` on what they give. `ratio`: how much wider a mask's inner layer is.
    Differs from the common implementation: without `norm` the blocks' dense layers have a bias; an inner layer is
    never narrower than 1.
    """
    first = NormedFlat() if norm_vectors else Flat()
    counts = [(width, 1) for width in units] if structure == "serial" else [(block_units, blocks)]
    masks = tuple(
        MaskBlocks(units=width, count=count, ratio=ratio, activation=activation, norm=norm, dropout=dropout)
        for width, count in counts
    )
    after = () if structure == "serial" else (MLP(units=units, activation=activation, dropout=dropout),)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(first=first, then=(*masks, *after)))
