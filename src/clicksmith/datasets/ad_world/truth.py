"""What is true of an ad world: what was planted where, and how well the best possible model does on its rows."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.datasets.ad_world.hidden import Floats, Hidden
from clicksmith.datasets.ad_world.settings import AdWorldSettings

_BINS = 1 << 20
_REACH = 32.0


class Bayes(msgspec.Struct, frozen=True):
    """How the true probabilities score on generated rows: what no model can beat but by chance."""

    rows: int
    clicks: int
    auc: float
    logloss: float


class PlantedPair(msgspec.Struct, frozen=True):
    """A pair of fields, the kind of their interaction, and the rank of a factorised one."""

    fields: tuple[str, str]
    kind: str
    strength: float
    rank: int | None = None


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What was planted.

    useful_values: for the fields `mixed_code_*`, the values that count (the others are noise features)
    dims: for the fields of pairs, the dimensions their vectors need
    domain_clusters: the hidden cluster of each domain
    bayes: by part, and "all"
    """

    useful_fields: tuple[str, ...]
    noise_fields: tuple[str, ...]
    useful_values: dict[str, tuple[int, ...]]
    pairs: tuple[PlantedPair, ...]
    dims: dict[str, int]
    domain_clusters: tuple[int, ...]
    communities: int
    bayes: dict[str, Bayes]


class Tally:
    """Gathers `Bayes` from blocks of rows in bounded memory.

    The AUC counts clicks by logit in steps of 0.00006; two rows closer than that count as a tie.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, _BINS), np.int64)
        self._loss = 0.0

    def add(self, logit: Floats, click: NDArray[np.bool_]) -> None:
        """Count rows."""
        place = np.clip((logit + _REACH) * (_BINS / (2 * _REACH)), 0, _BINS - 1).astype(np.int64)
        for label in (0, 1):
            found, counts = np.unique(place[click == bool(label)], return_counts=True)
            self._counts[label, found] += counts
        self._loss += float(np.logaddexp(0.0, np.where(click, -logit, logit)).sum())

    def bayes(self) -> Bayes:
        """Return the figures of all rows so far; the AUC is NaN-free: 0.5 if only one class was met."""
        negatives, positives = self._counts
        below = np.cumsum(negatives) - negatives
        pairs = int(positives.sum()) * int(negatives.sum())
        won = float((positives * (below + 0.5 * negatives)).sum())
        rows = int(self._counts.sum())
        return Bayes(rows, int(positives.sum()), won / pairs if pairs else 0.5, self._loss / max(1, rows))


def truth_of(settings: AdWorldSettings, hidden: Hidden, fields: list[str], bayes: dict[str, Bayes]) -> Truth:
    """Return the truth about a world whose inputs are `fields`."""
    noise = [name for name in fields if name.startswith("noise") or name in _silent(settings)]
    mixed = {f"mixed_code_{i}": tuple(np.flatnonzero(e).tolist()) for i, e in enumerate(hidden.mixed_effect)}
    pairs = [
        PlantedPair((f"pair_{i}_a", f"pair_{i}_b"), p.kind, p.strength, p.rank if p.kind == "factorised" else None)
        for i, p in enumerate(settings.pairs)
    ]
    dims = {name: hidden.pairs[i].rank or 1 for i, pair in enumerate(pairs) for name in pair.fields}
    return Truth(
        useful_fields=tuple(name for name in fields if name not in noise),
        noise_fields=tuple(noise),
        useful_values=mixed,
        pairs=tuple(pairs),
        dims=dims,
        domain_clusters=tuple(hidden.domain_cluster.tolist()) if settings.domains else (),
        communities=settings.communities.count if settings.communities else 0,
        bayes=bayes,
    )


def _silent(settings: AdWorldSettings) -> set[str]:
    """Return the fields that add nothing although they are no noise by name."""
    s = settings
    parts = {"history": s.history, "communities": s.communities, "domains": s.domains, "vectors": s.vectors}
    parts |= {"numbers": s.numbers, "mixed": s.mixed}
    felt = {name for name, part in parts.items() if part is not None and part.strength}
    both = bool(felt & {"history", "communities"})  # who sees which ad
    adds = {
        "hour": False,
        "user_id": both or s.ids.user_strength != 0,
        "ad_id": both or "vectors" in felt or s.ids.ad_strength != 0 or s.drift != 0,
        "category": "history" in felt or s.drift != 0,
        "past_ads": "history" in felt,
        "domain": "domains" in felt,
        "style": "domains" in felt,
        "image": "vectors" in felt,
    }
    adds |= {f"number_{i}": "numbers" in felt for i in range(s.numbers.useful if s.numbers else 0)}
    adds |= {f"mixed_code_{i}": "mixed" in felt for i in range(s.mixed.fields if s.mixed else 0)}
    adds |= {f"pair_{i}_{side}": pair.strength != 0 for i, pair in enumerate(s.pairs) for side in "ab"}
    return {name for name, something in adds.items() if not something}
