"""SAM: self-attention without softmax, from logistic regression to a transformer (Cheng and Xue, SIGIR 2021)."""

from typing import Literal

from clicksmith.embed.embedder import Embed
from clicksmith.errors import CompositionError
from clicksmith.interact.compose import Flat, Stacked
from clicksmith.interact.sam import PooledFields, WeighedPairs, WeighedSums
from clicksmith.models.spec import ModelSpec


def sam(
    *,
    dim: int = 16,
    variant: Literal["1", "2A", "2E", "3A", "3E"] = "3A",
    layers: int = 3,
    residual: bool = True,
    pool: Literal["none", "sum", "mean", "weight"] = "none",
    dropout: float = 0.0,
) -> ModelSpec:
    """Dot products of fields weigh vectors of their pairs.

    `variant`: `1` is linear in the vectors; `2A` and `2E` have a vector for every pair; `3A` and `3E` add them up for
    each field, in `layers`. A: learned vectors; E: the product of the two fields'. `pool` says how the fields of `1`,
    `3A` and `3E` become one vector, `none` puts them side by side.
    Differs from the common implementation: it has no `1`.
    """
    weighs = "E" if variant.endswith("E") else "A"
    if variant.startswith("2"):
        if pool != "none":
            raise CompositionError(f"sam variant='{variant}' puts its pairs side by side and takes no pool='{pool}'.")
        pairs = WeighedPairs(weighs=weighs, dropout=dropout)
        return ModelSpec(embed=Embed(dim=dim), interact=pairs)
    summed = WeighedSums(layers=layers, weighs=weighs, residual=residual, dropout=dropout)
    first = Flat() if pool == "none" else PooledFields(by=pool)
    interact = Stacked(first=first, transforms=() if variant == "1" else (summed,))
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
