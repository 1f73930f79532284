"""FiGNN: fields pass messages over a graph of attention (Li et al., CIKM 2019)."""

from clicksmith.embed.embedder import Embed
from clicksmith.head.binary import Binary
from clicksmith.interact.compose import Stacked
from clicksmith.interact.graph import FieldGraph, ScoredFields
from clicksmith.models.spec import ModelSpec


def fignn(
    *,
    dim: int = 16,
    layers: int = 3,
    gru: bool = True,
    residual: bool = True,
    share: bool = False,
) -> ModelSpec:
    """Fields pass messages over a graph whose edges are attention between them.

    `gru` updates a field by a gated unit, else the message is added; `share` has one set of matrices for all rounds.
    Differs from the paper, as the common implementation does: no self-attention in front (put `Attention` there as a
    transform), and no constant in the logit.
    """
    graph = FieldGraph(layers=layers, gru=gru, residual=residual, share=share)
    interact = Stacked(first=ScoredFields(), transforms=(graph,))
    return ModelSpec(embed=Embed(dim=dim), interact=interact, head=Binary(bias=False))
