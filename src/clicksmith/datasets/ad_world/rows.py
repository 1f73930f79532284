"""The rows of an ad world, in blocks of their own random stream: how many are asked for at once changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicksmith.datasets.ad_world.hidden import Floats, Hidden, Ints, rng
from clicksmith.datasets.ad_world.settings import AdWorldSettings, Numbers

BLOCK = 65_536
START = 1_767_225_600
"""The first row's time, 2026-01-01, in seconds."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows.

    columns: the cells; logit: [rows] true log-odds before the label was drawn; click: [rows] the label
    """

    columns: dict[str, NDArray[np.generic]]
    logit: Floats
    click: NDArray[np.bool_]

    @property
    def probability(self) -> Floats:
        """The true probability of a click: [rows]."""
        return 1.0 / (1.0 + np.exp(-self.logit))

    def slice(self, first: int, last: int) -> Block:
        """Return some of the rows."""
        cells = {name: column[first:last] for name, column in self.columns.items()}
        return Block(cells, self.logit[first:last], self.click[first:last])


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Draws rows. `bias` is the logit that makes the click rate what the settings say."""

    settings: AdWorldSettings
    hidden: Hidden
    seed: int
    rows: int
    bias: float = 0.0

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """Yield the rows from `first` to `last`."""
        for number in range(first // BLOCK, -(-last // BLOCK)):
            start = number * BLOCK
            block = self.block(rng(self.seed, 1, number), start, min(BLOCK, self.rows - start))
            yield block.slice(max(0, first - start), last - start)

    def block(self, r: np.random.Generator, start: int, rows: int) -> Block:
        """Draw a block of rows, the first of which is row `start`."""
        s, h = self.settings, self.hidden
        progress = (start + np.arange(BLOCK)) / max(1, self.rows)
        user = draw(r, h.user_cdf)
        ad = self._ads(r, user)
        category = h.category[ad]
        cells: dict[str, NDArray[np.generic]] = {"user_id": user, "ad_id": ad, "category": category}
        logit = self.bias + h.user_effect[user] + h.ad_effect[ad] + h.vector_effect[ad]
        logit += h.community_effect[h.user_community[user], h.ad_community[ad]]
        logit += (2.0 * progress - 1.0) * h.category_drift[category]
        if s.history is not None:
            share = s.history.interests / s.ids.categories
            scale = s.history.strength / np.sqrt(share * (1 - share)) if 0 < share < 1 else 0.0
            logit += scale * (h.likes[user, category] - share)
        cells["hour"] = r.integers(0, 24, BLOCK)
        if s.domains is not None:
            logit += self._domain(r, cells)
        for i in range(len(h.pairs)):
            logit += self._pair(r, i, cells)
        for i, effect in enumerate(h.mixed_effect):
            value = draw(r, h.mixed_cdf)
            cells[f"mixed_code_{i}"] = value
            logit += effect[value]
        if s.numbers is not None:
            logit += numbers(r, s.numbers, cells)
        for i in range(s.noise.fields if s.noise else 0):
            cells[f"noise_code_{i}"] = draw(r, h.noise_cdf)
        cells["time"] = START + (progress * s.days * 86_400).astype(np.int64)
        click = r.random(BLOCK) < 1.0 / (1.0 + np.exp(-logit))
        return Block(cells, logit, click).slice(0, rows)

    def _ads(self, r: np.random.Generator, user: Ints) -> Ints:
        """Draw ads, some of them from the user's community."""
        h, communities = self.hidden, self.settings.communities
        anywhere = draw(r, h.ad_cdf)
        if communities is None:
            return anywhere
        own = draw(r, h.community_cdf) * communities.count + h.user_community[user]
        return np.where(r.random(BLOCK) < communities.inside, own, anywhere)

    def _domain(self, r: np.random.Generator, cells: dict[str, NDArray[np.generic]]) -> Floats:
        h = self.hidden
        domain, style = r.integers(0, len(h.domain_level), BLOCK), r.integers(0, len(h.style_effect), BLOCK)
        cells["domain"], cells["style"] = domain, style
        sign = np.where(h.domain_cluster[domain] % 2 == 0, 1.0, -1.0)
        turned = np.roll(h.style_effect, 1)
        effect = np.where(h.domain_cluster[domain] < 2, sign * h.style_effect[style], sign * turned[style])
        return h.domain_level[domain] + effect

    def _pair(self, r: np.random.Generator, i: int, cells: dict[str, NDArray[np.generic]]) -> Floats:
        pair = self.hidden.pairs[i]
        a, b = r.integers(0, len(pair.left), (2, BLOCK))
        cells[f"pair_{i}_a"], cells[f"pair_{i}_b"] = a, b
        return pair.cells[a, b] if pair.cells is not None else (pair.left[a] * pair.right[b]).sum(axis=1)


def draw(r: np.random.Generator, cdf: Floats) -> Ints:
    """Draw a block of values by their running probabilities."""
    return np.minimum(np.searchsorted(cdf, r.random(BLOCK), side="right"), len(cdf) - 1)


def numbers(r: np.random.Generator, settings: Numbers, cells: dict[str, NDArray[np.generic]]) -> Floats:
    """Draw the numeric fields into `cells`, NaN where missing, and return what they add."""
    total = np.zeros(BLOCK)
    for i in range(settings.useful + settings.noise):
        normal, there = r.standard_normal(BLOCK), r.random(BLOCK) >= settings.missing
        kind = i % 3
        value = np.floor(np.exp(1.5 * normal + 1.0)) if kind == 1 else np.round(10.0 * normal, 3)
        seen = np.log1p(value) - 1.56 if kind == 1 else value / 10.0
        effect = seen if kind != 2 else (np.abs(seen) < 0.6745) * 2.0 - 1.0
        cells[f"number_{i}" if i < settings.useful else f"noise_number_{i - settings.useful}"] = np.where(
            there, value, np.nan
        )
        if i < settings.useful:
            total += np.where(there, effect * settings.strength, 0.0)
    return total


def bias_for(maker: RowMaker) -> float:
    """Return the bias that gives the wanted click rate, on a block drawn for it alone."""
    logit = maker.block(rng(maker.seed, 2), 0, BLOCK).logit
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        rate = float(np.mean(1.0 / (1.0 + np.exp(-(logit + middle)))))
        low, high = (middle, high) if rate < maker.settings.click_rate else (low, middle)
    return (low + high) / 2
