"""Hashed LR: logistic regression on hashed features (Weinberger et al., ICML 2009), of pairs too if wanted.

Differs from its common use (Vowpal Wabbit; McMahan et al., KDD 2013): ids are numbered before they are hashed, single
features and pairs have a table each, and the optimiser is the one that trains every model here, not FTRL.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.embed.hashed import Hashed
from clicksmith.interact.compose import Parallel
from clicksmith.interact.linear import CrossedWeights, FirstOrder
from clicksmith.models.spec import ModelSpec


def hashed_lr(*, bits: int = 18, crosses: bool = False) -> ModelSpec:
    """Logistic regression whose features of all fields share `2**bits` weights by their hash.

    `crosses` adds a weight for each pair of ids of a row, all pairs of fields sharing as many weights again.
    """
    block = Parallel(blocks=(FirstOrder(), CrossedWeights())) if crosses else FirstOrder()
    return ModelSpec(embed=Embed(view_table=Hashed(bits=bits)), interact=block)
