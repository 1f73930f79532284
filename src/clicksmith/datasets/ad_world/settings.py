"""What is planted in an ad world. A strength is the standard deviation, in logits, of what a part adds; 0: nothing."""

from __future__ import annotations

from math import inf
from typing import Literal

import msgspec

from clicksmith.errors import UsageError


class Ids(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Users, ads and their ids. Popularity is Zipf: the r-th value is drawn in proportion to r^-zipf."""

    users: int = 20_000
    ads: int = 2_000
    categories: int = 20
    zipf: float = 1.1
    user_strength: float = 0.4
    ad_strength: float = 0.5


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Behaviour sequences: ads of the categories that a user is hidden to like, with strays among them."""

    shortest: int = 5
    longest: int = 50
    interests: int = 3
    """Categories that a user likes."""
    strays: float = 0.2
    """Share of behaviours drawn from all ads, some of which are of the interests by chance."""
    newest_empty: int = 0
    """The newest behaviours are all strays: only older ones tell."""
    strength: float = 0.8


class Communities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups of users who see the same ads, and an effect per (user's, ad's) community."""

    count: int = 20
    inside: float = 0.5
    """Share of impressions whose ad is of the user's community."""
    strength: float = 0.4


class Domains(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scenarios: each has its own level, and belongs to a hidden cluster that turns the sign of the field `style`."""

    count: int = 4
    clusters: int = 2
    """At most 4, whose signs differ."""
    values: int = 8
    """Values of `style`."""
    strength: float = 0.6


class Vectors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vector per ad (the centre of its category and noise); one hidden direction of it counts."""

    dim: int = 16
    strength: float = 0.4


class Numbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numeric fields: linear, logarithmic (long tail) and a hump, in turn. Noise ones count nothing."""

    useful: int = 3
    noise: int = 2
    missing: float = 0.1
    """Share of empty cells, whatever the value; an empty cell adds 0."""
    strength: float = 0.4


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two fields of their own whose interaction is of one kind.

    memorised: a random sign per cell; factorised: the product of latent vectors; naive: each adds its own effect.
    """

    kind: Literal["memorised", "factorised", "naive"]
    values: int = 40
    strength: float = 0.7
    rank: int = 1
    """Of a factorised pair."""


class Mixed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of which some values count and the others are noise features."""

    fields: int = 1
    values: int = 500
    useful: float = 0.5
    """Share of useful values."""
    which: Literal["any", "frequent"] = "any"
    """Whether frequent and rare values are useful alike, or the most frequent ones only."""
    strength: float = 0.5


class Noise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Categorical fields that count nothing."""

    fields: int = 2
    values: int = 1_000


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days until an ad is stopped: Weibull, cut early (0.7) or worn out late (2.5), censored at the horizon."""

    horizon: float = 90.0
    cut_out: float = 0.5
    """Share of ads that are of the early kind."""
    strength: float = 0.5
    """How much the ad's vector moves the scale, in logarithms."""


class AdWorldSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is planted; None leaves a part out."""

    click_rate: float = 0.2
    ids: Ids = Ids()
    history: History | None = History()
    communities: Communities | None = Communities()
    domains: Domains | None = Domains()
    vectors: Vectors | None = Vectors()
    numbers: Numbers | None = Numbers()
    pairs: tuple[Pair, ...] = (Pair(kind="memorised"), Pair(kind="factorised"), Pair(kind="naive"))
    mixed: Mixed | None = Mixed()
    noise: Noise | None = Noise()
    lifetimes: Lifetimes | None = None
    drift: float = 0.0
    """How far the effect of the ad's category turns from the first row to the last."""
    days: float = 30.0
    """Days that the log covers."""

    def __post_init__(self) -> None:
        """Check what contradicts itself."""
        if not 0.0 < self.click_rate < 1.0:
            raise UsageError(f"click_rate is {self.click_rate}; it must lie between 0 and 1.")
        for name, value, low, high in self._ranges():
            if not low <= value <= high:
                most = f"at least {low}" if high == inf else f"between {low} and {high}"
                raise UsageError(f"{name} is {value}; it must be {most}.")
        if self.ids.ads < self.ids.categories or (self.communities and self.ids.ads < self.communities.count):
            raise UsageError(f"{self.ids.ads} ads are fewer than the categories or communities; give more ads.")
        if self.history and not 0 < self.history.shortest <= self.history.longest:
            raise UsageError(
                f"histories of {self.history.shortest} to {self.history.longest} behaviours are impossible."
            )
        if self.history and self.history.interests > self.ids.categories:
            raise UsageError(f"{self.history.interests} interests are more than the {self.ids.categories} categories.")
        if self.lifetimes and self.vectors is None:
            raise UsageError("lifetimes depend on the ads' vectors; give vectors, or leave lifetimes out.")

    def _ranges(self) -> list[tuple[str, float, float, float]]:
        """Return what must lie in a range: its name, its value, the least and the most."""
        found: list[tuple[str, float, float, float]] = [("days", self.days, 0, inf)]
        found += [(f"ids.{name}", getattr(self.ids, name), 1, inf) for name in ("users", "ads", "categories")]
        if self.history:
            found += [
                ("history.interests", self.history.interests, 1, inf),
                ("history.strays", self.history.strays, 0, 1),
            ]
        if self.communities:
            found.append(("communities.count", self.communities.count, 1, inf))
            found.append(("communities.inside", self.communities.inside, 0, 1))
        if self.domains:
            found += [(f"domains.{name}", getattr(self.domains, name), 1, inf) for name in ("count", "values")]
            found.append(("domains.clusters", self.domains.clusters, 1, 4))
        if self.numbers:
            found.append(("numbers.missing", self.numbers.missing, 0, 1))
        for i, pair in enumerate(self.pairs):
            found += [(f"pairs[{i}].values", pair.values, 1, inf), (f"pairs[{i}].rank", pair.rank, 1, inf)]
        if self.mixed:
            found += [("mixed.values", self.mixed.values, 1, inf), ("mixed.useful", self.mixed.useful, 0, 1)]
        if self.noise:
            found.append(("noise.values", self.noise.values, 1, inf))
        if self.lifetimes:
            found += [
                ("lifetimes.horizon", self.lifetimes.horizon, 0, inf),
                ("lifetimes.cut_out", self.lifetimes.cut_out, 0, 1),
            ]
        return found
