"""The options of OptInter."""

from typing import Literal

from clicksmith.errors import UsageError
from clicksmith.search.method import Options


class OptInter(Options, frozen=True):
    """Options of `clicksmith search optinter`.

    Paper: optinter, search and re-train stages.
    """

    mode: Literal["bilevel", "joint", "counts", "random"] = "bilevel"
    """bilevel: architecture weights move on held-out rows. joint: on the training batches, as the paper does, which
    favours what memorises them. counts: no training, the gains of counts alone. random: a random Plan, the control."""
    drawn: tuple[int, int] | None = None
    """random: how many pairs are memorised and factorised; if not given the operation of each pair is drawn."""
    epochs: int = 4
    """Epochs of the search."""
    dim: int = 8
    """Length of a pair's vector (the paper's s2)."""
    std: float = 0.1
    """Deviation of the pairs' first weights, in search and refit: products of small ones do not learn."""
    alpha_rate: float = 0.03
    """Learning rate of the architecture weights. The paper's 1e-3 is for its 18,000 steps an epoch."""
    cooling: float = 5e-5
    """The temperature is max(.01, 1 - cooling * step)."""
    gumbel: bool = False
    """Noise on the architecture weights; the paper's text has it, its code does not."""
    held_out: float = 0.2
    """Share of the training rows that move the architecture weights (bilevel)."""
    min_count: int = 2
    """Pairs of values that training met fewer times are unseen."""
    rows: int = 1_000_000
    """Rows that the hashed crosses of the search may have together."""
    pairs: int = 64
    """With more pairs than this, those of the largest gain by counts are searched."""
    candidates: int = 2
    """Plans that are retrained and ranked by their validation score: 1 takes what the search says (the paper), 2 adds
    the Plan of the counts, each further one a search with another seed."""
    margin: float = 0.5
    """The Plan of the counts, whose every pair passed a test of its own, stays unless another one scores better by
    margin / sqrt(validation rows of the rarest class of any label): at .5 one standard error of an AUC at most."""
    rank_epochs: int = 5
    """Epochs at most of a candidate's training."""

    def __post_init__(self) -> None:
        """Check every option."""
        least = {"epochs": 1, "dim": 1, "std": 0, "alpha_rate": 0, "cooling": 0, "min_count": 1, "rows": 1}
        self.at_least(**least, pairs=1, candidates=1, margin=0, rank_epochs=1)
        if self.drawn is not None and (self.mode != "random" or min(self.drawn) < 0):
            raise UsageError(
                f"drawn is {self.drawn} and the mode {self.mode}; give two numbers from 0, and mode=random."
            )
        if self.alpha_rate > 100:
            raise UsageError(f"alpha_rate is {self.alpha_rate:g}; Adam steps by it, as in 0.03: give at most 100.")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}; give a share between 0 and 1, as in 0.2.")
