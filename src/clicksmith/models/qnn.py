"""QNN-alpha: a network of quadratic neurons, no dense layers beside it (Li et al., arXiv 2025)."""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.compose import Stacked
from clicksmith.interact.quadratic import Quadratic
from clicksmith.models.spec import ModelSpec


def qnn(
    *,
    dim: int = 16,
    layers: int = 3,
    rows: int = 3,
    batch_norm: bool = True,
    dropout: float = 0.1,
) -> ModelSpec:
    """A network of quadratic neurons: each layer multiplies its input by dense layers of it.

    `rows`: dense outputs for each coordinate.
    Differs from the paper: one head, the default of its code, and the plain loss; the paper's asks two passes under
    dropout to agree as well.
    """
    quadratic = Quadratic(layers=layers, rows=rows, batch_norm=batch_norm, dropout=dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=Stacked(then=(quadratic,)))
