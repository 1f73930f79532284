"""Evolution of widths per vocabulary under a budget: elitist, never scores a child twice, resumable.

Differs from the released code, whose best candidate is altered after it was scored (parents are mutated in place), is
recorded by another's score (only one of two lists is sorted), crosses over beyond the last field, never mutates to
width 1, and counts one column too few. Paper: optembed, section 3.3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from clicksmith.search.optembed.options import OptEmbed

Widths = tuple[int, ...]
RISE = 1e-4
"""A smaller rise of the best score is chance: a fiftieth of the standard error of AUC on 10,000 rows."""
TRIES = 50
"""Draws of a child before widths are lowered until it fits, or it is left out as known."""


class Scored(msgspec.Struct, frozen=True):
    """A candidate that was scored."""

    widths: Widths
    score: float
    """Higher is better."""
    parameters: int


class Evolution:
    """The population. `ask` for children, score them, `tell` the scores; repeat until `ask` gives none.

    Paper: optembed, section 3.3.

    Args:
        genes: how many vocabularies there are.
        price: the parameters of a candidate; they grow with every width, but for the step to the largest, which is the
            cheapest where ids are few (narrower vectors have padding of their own).
        budget: candidates have at most this many parameters.
    """

    def __init__(
        self,
        genes: int,
        grid: Widths,
        settings: OptEmbed,
        *,
        price: Callable[[Widths], int],
        budget: int | None = None,
        seed: int = 0,
    ) -> None:
        self.genes, self.grid, self.settings, self.parameters, self.budget = genes, grid, settings, price, budget
        self.random = np.random.default_rng(seed)
        self.first: tuple[Widths, ...] = ()
        self.scored: dict[Widths, Scored] = {}
        self.generation, self.stale, self.risen = 0, 0, -np.inf
        low = (grid[0],) * genes
        self.cheapest = tuple(
            min((grid[0], grid[-1]), key=lambda width: price((*low[:i], width, *low[i + 1 :]))) for i in range(genes)
        )
        """The width of each vocabulary at which it takes the fewest parameters."""
        smallest = self.parameters(self.cheapest)
        if budget is not None and smallest > budget:
            raise settings.exceeded(
                budget,
                f"the smallest candidate (width {' or '.join(map(str, sorted({*self.cheapest})))} everywhere) has "
                f"{smallest:,}; raise it, prune more ids, or give smaller widths.",
            )

    def start(self, first: tuple[Widths, ...]) -> None:
        """Let these be in the first generation; those beyond the budget are lowered."""
        self.first = tuple(self._fitted(list(widths)) for widths in first)

    def ask(self) -> list[Widths]:
        """Return the next children, all new, all within the budget; none when the search is over."""
        settings = self.settings
        if self.generation >= settings.generations or self.stale >= settings.patience:
            return []
        found: dict[Widths, None] = {}
        if self.generation == 0:
            found |= dict.fromkeys(self.first)
            for _ in range(max(0, settings.mutations + settings.crossovers - len(found))):
                self._add(found, self._any)
        else:
            pool = self.pool()
            for _ in range(settings.mutations):
                self._add(found, lambda: self._mutant(pool))
            for _ in range(settings.crossovers):
                self._add(found, lambda: self._crossed(pool))
        return list(found)

    def tell(self, children: list[Widths], scores: list[float]) -> None:
        """Take in the scores of what `ask` gave, in its order."""
        for widths, score in zip(children, scores, strict=True):
            self.scored[widths] = Scored(widths, float(score), self.parameters(widths))
        self.generation += 1
        top = max((one.score for one in self.scored.values()), default=-np.inf)
        if top > self.risen + RISE:
            self.stale, self.risen = 0, top
        else:
            self.stale += 1

    def pool(self) -> list[Scored]:
        """Return the parents: the best so far, the smaller first among equals."""
        return sorted(self.scored.values(), key=_order)[: self.settings.parents]

    def best(self) -> Scored:
        """Return the best evaluated candidate, the smaller among equals."""
        return min(self.scored.values(), key=_order)

    def front(self) -> list[Scored]:
        """Return the Pareto front: every candidate that none beats in both score and size, smallest first."""
        found: list[Scored] = []
        for one in sorted(self.scored.values(), key=lambda one: (one.parameters, *_order(one))):
            if not found or one.score > found[-1].score:
                found.append(one)
        return found

    def state(self) -> dict[str, Any]:
        """Return everything as plain values, for an exact resume."""
        return {
            "generation": self.generation,
            "stale": self.stale,
            "risen": self.risen,
            "scored": [[list(one.widths), one.score] for one in self.scored.values()],
            "random": self.random.bit_generator.state,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.generation, self.stale, self.risen = state["generation"], state["stale"], state["risen"]
        for widths, score in state["scored"]:
            self.scored[tuple(widths)] = Scored(tuple(widths), score, self.parameters(tuple(widths)))
        self.random.bit_generator.state = state["random"]

    def _add(self, found: dict[Widths, None], draw: Any) -> None:
        """Add a new child that fits; none if the draws give only known ones."""
        for _ in range(TRIES):
            child = draw()
            if self._fits(child) and child not in found and child not in self.scored:
                found[child] = None
                return
        child = self._fitted(list(draw()))
        if child not in found and child not in self.scored:
            found[child] = None

    def _any(self) -> Widths:
        return tuple(int(w) for w in self.random.choice(self.grid, self.genes))

    def _mutant(self, pool: list[Scored]) -> Widths:
        parent = pool[self.random.integers(len(pool))].widths
        anew = self.random.random(len(parent)) < self.settings.mutate
        anew[self.random.integers(len(parent))] = True
        child = [new if a else old for a, new, old in zip(anew, self._any(), parent, strict=True)]
        return self._fitted(child, [i for i, a in enumerate(anew) if not a])

    def _crossed(self, pool: list[Scored]) -> Widths:
        one, two = (pool[i].widths for i in self.random.integers(len(pool), size=2))
        if len(one) < 2:
            return self._mutant(pool)
        at = int(self.random.integers(1, len(one)))
        return (*one[:at], *two[at:])

    def _fits(self, widths: Widths) -> bool:
        return self.budget is None or self.parameters(widths) <= self.budget

    def _fitted(self, widths: list[int], first: Sequence[int] = ()) -> Widths:
        """Lower widths of vocabularies drawn at random, of those in `first` before others, until the candidate fits.

        Under a tight budget a mutant that widens one vocabulary is thus an exchange: drawing again would let through
        those that narrow, and only those.
        """
        while not self._fits(tuple(widths)):
            high = [i for i in first if widths[i] != self.cheapest[i]]
            high = high or [i for i, width in enumerate(widths) if width != self.cheapest[i]]
            i = high[self.random.integers(len(high))]
            lower = [width for width in self.grid if self.cheapest[i] <= width < widths[i]]
            widths[i] = max(lower, default=self.cheapest[i])
        return tuple(widths)


def smallest_within(candidates: list[Scored], slack: float) -> Scored:
    """Return the smallest candidate whose score is within `slack` of the best."""
    top = max(one.score for one in candidates)
    return min((one for one in candidates if one.score >= top - slack), key=lambda one: (one.parameters, *_order(one)))


def _order(one: Scored) -> tuple[float, int, Widths]:
    return (-one.score, one.parameters, one.widths)
