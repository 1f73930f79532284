"""Hashed LR: logistic regression on hashed features (Weinberger et al., ICML 2009).

Differs from its common use (Vowpal Wabbit; McMahan et al., KDD 2013): ids are numbered before they are hashed, fields
are not crossed, and the optimiser is the one that trains every model here, not FTRL.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.embed.hashed import Hashed
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def hashed_lr(*, bits: int = 18) -> ModelSpec:
    """Logistic regression whose features of all fields share `2**bits` weights by their hash."""
    return ModelSpec(embed=Embed(view_table=Hashed(bits=bits)), interact=FirstOrder())
