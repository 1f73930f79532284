"""FmFM: a factorisation machine with a matrix per pair of fields (Sun et al., WWW 2021).

Differs from the paper: all fields' vectors are equally long; from the common implementation: matrices start as the
identity, so that training starts from a factorisation machine, where it draws them at random.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Parallel
from clicksmith.interact.fmfm import FmFM, Matrices
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def fmfm(*, dim: int = 16, matrices: Matrices = "full") -> ModelSpec:
    """Factorisation machine with a learned matrix per pair of fields, full or diagonal."""
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), FmFM(matrices=matrices))))
