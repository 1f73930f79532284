"""FFM: first order plus field-aware dot products (Juan et al., RecSys 2016)."""

from clicksmith.interact.compose import Parallel
from clicksmith.interact.fm import FFM
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def ffm(*, dim: int = 4) -> ModelSpec:
    """Field-aware factorisation machine: a vector of every feature for every other field.

    Differs from the paper's LIBFFM, which leaves the first order out; FuxiCTR has it.
    """
    return ModelSpec(interact=Parallel(blocks=(FirstOrder(), FFM(dim=dim))))
