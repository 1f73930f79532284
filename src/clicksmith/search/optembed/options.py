"""The options of `search optembed`."""

from typing import Literal

from clicksmith.errors import UsageError
from clicksmith.search.method import LARGEST, Options


class OptEmbed(Options, frozen=True):
    """Options of `clicksmith search optembed`: which ids keep vectors, and how wide those are."""

    mode: Literal["field", "feature"] = "field"
    """A threshold per vocabulary, or per id."""
    threshold_rate: float = 1.0
    """Learning rate of the thresholds (plain SGD); the paper's 1e-4 hardly moves them in short trainings."""
    alpha: float = 5e-4
    """Weight of exp(-threshold) in the loss: about the log-loss that a vocabulary must save to stay."""
    warm_epochs: int = 2
    """Epochs at the start, at most half of all, in which thresholds rest: vectors that have learned nothing are small,
    and would go. The paper has none."""
    evidence: float = 0.0
    """An id seen n times counts n / (n + evidence) of its size; 0 is the paper's, above it rare ids go first."""

    widths: tuple[int, ...] = ()
    """Widths to choose from; () means 1 to dim, as in the paper. Multiples of 4 are looked up fastest."""
    max_parameters: int | None = None
    """The row-indexed parameters of the model found are at most these."""
    max_ratio: float | None = None
    """The same as a share of the backbone's."""
    slack: float = 0.0
    """The smallest candidate within this of the best score is taken."""

    start: Literal["none", "first", "supernet"] = "first"
    """Leave a start file for the refit: with the weights that the supernet had at first, or in the end."""

    generations: int = 20
    """Rounds of the evolutionary search at most."""
    mutations: int = 10
    """Children per generation that are mutants of one parent."""
    crossovers: int = 10
    """Children per generation that are crossed from two."""
    mutate: float = 0.1
    """Chance of each vocabulary of a mutant to be drawn anew."""
    parents: int = 15
    """The best candidates so far, from which children come."""
    patience: int = 5
    """Stop after this many generations in which the best score rises by less than 1e-4, all told."""
    probe: bool = True
    """Start from candidates that give each width where narrowing each vocabulary alone did harm; else from chance."""

    metric: Literal["auc", "logloss"] = "auc"
    """What a candidate is scored by."""
    score_rows: int = 10_000
    """Selection rows that score candidates, the same for all; more where they hold few clicks. The last front is scored
    on all rows."""
    norm_rows: int = 4_096
    """Training rows that batch normalisation measures anew for each candidate."""

    def __post_init__(self) -> None:
        """Check every number."""
        self.at_least(
            threshold_rate=0, alpha=0, warm_epochs=0, evidence=0, slack=0, generations=1, mutations=0, crossovers=0,
            parents=1, patience=1, score_rows=1, norm_rows=2, max_parameters=1,
        )  # fmt: skip
        self.at_most(alpha=LARGEST, evidence=LARGEST)
        if self.mutations + self.crossovers < 1:
            raise UsageError("mutations and crossovers are both 0; a generation needs a child.")
        if not 0 < self.mutate <= 1:
            raise UsageError(f"mutate is {self.mutate}; it must be above 0 and at most 1.")
        if self.max_ratio is not None and not 0 < self.max_ratio <= 1:
            raise UsageError(f"max_ratio is {self.max_ratio}; it must be above 0 and at most 1.")
        if self.max_ratio is not None and self.max_parameters is not None:
            raise UsageError(f"max_ratio={self.max_ratio} and max_parameters={self.max_parameters} both; give one.")

    def budget(self, whole: int) -> int | None:
        """Return how many parameters the model found may have, where the backbone has `whole`; None: any number."""
        return self.max_parameters if self.max_ratio is None else int(whole * self.max_ratio)

    def exceeded(self, budget: int, by: str) -> UsageError:
        """Return the error of a budget that nothing meets; `by` says what is above it, and what to do."""
        told = f"max_ratio is {self.max_ratio}, {budget:,} parameters"
        return UsageError(f"{f'max_parameters is {budget:,}' if self.max_ratio is None else told}, and {by}")
