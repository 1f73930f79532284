"""AFM: a factorisation machine whose pairs are weighed by attention (Xiao et al., IJCAI 2017).

Differs from the paper, as the common implementation does: dropout acts on the pairs' weights and on their sum, not on
the products before the attention. The paper's L2 on the attention's matrix is `dense_l2` in training, on all weights.
"""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.afm import AttentivePairs
from clicksmith.interact.compose import Parallel
from clicksmith.interact.linear import FirstOrder
from clicksmith.models.spec import ModelSpec


def afm(*, dim: int = 16, width: int = 16, attention_dropout: float = 0.0, dropout: float = 0.0) -> ModelSpec:
    """First order, and the products of all pairs added up under attention.

    `width` is that of the attention network's hidden layer.
    """
    pairs = AttentivePairs(width=width, attention_dropout=attention_dropout, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Parallel(blocks=(FirstOrder(), pairs)))
