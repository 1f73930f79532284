"""EulerNet: interactions of learned orders, multiplied in the complex plane (Tian et al., SIGIR 2023)."""

from clicksmith.embed.embedder import Embed
from clicksmith.interact.euler import Euler
from clicksmith.models.spec import ModelSpec


def eulernet(
    *,
    dim: int = 16,
    neurons: tuple[int, ...] = (20,),
    norm: bool = True,
    dropout: float = 0.0,
    linear_dropout: float = 0.0,
) -> ModelSpec:
    """Products of the fields raised to learned powers, in the complex plane.

    `neurons`: how many products each layer gives. `dropout` is that of logarithms and phases, `linear_dropout` that of
    the linear part beside them.
    Differs from the authors' code: without `norm` no normalisation is built; phases beyond half a turn wrap, as there.
    """
    interact = Euler(neurons=neurons, norm=norm, dropout=dropout, linear_dropout=linear_dropout)
    return ModelSpec(embed=Embed(dim=dim), interact=interact)
