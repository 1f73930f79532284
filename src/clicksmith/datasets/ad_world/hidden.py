"""The hidden state of an ad world: what users like, what ads are, what every value adds to the logit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicksmith.datasets.ad_world.settings import AdWorldSettings, History, Lifetimes, Pair

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PairTruth:
    """One planted pair: the logit of each cell [values, values], or `left` and `right` [values, rank] to multiply."""

    kind: str
    rank: int
    left: Floats
    right: Floats
    cells: Floats | None


@dataclass(frozen=True, slots=True)
class Hidden:
    """Everything that rows are drawn from. Arrays are by user, ad, category, domain or value; effects are in logits."""

    user_cdf: Floats
    ad_cdf: Floats
    user_effect: Floats
    ad_effect: Floats
    category: Ints
    category_drift: Floats
    likes: NDArray[np.bool_]
    histories: Ints
    lengths: Ints
    gaps: Ints
    user_community: Ints
    ad_community: Ints
    community_cdf: Floats
    community_effect: Floats
    domain_level: Floats
    domain_cluster: Ints
    style_effect: Floats
    vectors: NDArray[np.float32]
    vector_effect: Floats
    lifetime: Floats
    stopped: NDArray[np.bool_]
    worn_out: NDArray[np.bool_]
    pairs: tuple[PairTruth, ...]
    mixed_cdf: Floats
    mixed_effect: Floats
    noise_cdf: Floats


def rng(seed: int, *stream: int) -> np.random.Generator:
    """Return the random stream of a seed and a place; streams of different places are independent."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream])))


def build_hidden(settings: AdWorldSettings, seed: int) -> Hidden:
    """Draw the hidden state. Each part has its own stream: changing one part leaves the others as they are."""
    ids, s = settings.ids, settings
    category = rng(seed, 0, 1).integers(0, ids.categories, ids.ads)
    category[: ids.categories] = np.arange(ids.categories)
    likes, histories, lengths, gaps = _histories(s, category, seed)
    groups, inside = (s.communities.count, s.communities.strength) if s.communities else (1, 0.0)
    r = rng(seed, 0, 2)
    user_community = r.integers(0, groups, ids.users)
    vectors, signal = _vectors(s, category, seed)
    lifetime, stopped, worn_out = _lifetimes(s.lifetimes, signal, ids.ads, seed)
    level, cluster, style = _domains(s, seed)
    mixed_cdf, mixed_effect = _mixed(s, seed)
    return Hidden(
        user_cdf=zipf_cdf(ids.users, ids.zipf),
        ad_cdf=zipf_cdf(ids.ads, ids.zipf),
        user_effect=_spread(rng(seed, 0, 3), ids.users, ids.user_strength),
        ad_effect=_spread(rng(seed, 0, 4), ids.ads, ids.ad_strength),
        category=category,
        category_drift=_spread(rng(seed, 0, 5), ids.categories, s.drift),
        likes=likes,
        histories=histories,
        lengths=lengths,
        gaps=gaps,
        user_community=user_community,
        ad_community=np.arange(ids.ads) % groups,
        community_cdf=zipf_cdf(ids.ads // groups, ids.zipf),
        community_effect=r.standard_normal((groups, groups)) * inside,
        domain_level=level,
        domain_cluster=cluster,
        style_effect=style,
        vectors=vectors,
        vector_effect=signal * (s.vectors.strength if s.vectors else 0.0),
        lifetime=lifetime,
        stopped=stopped,
        worn_out=worn_out,
        pairs=tuple(_pair(pair, rng(seed, 0, 6, i)) for i, pair in enumerate(s.pairs)),
        mixed_cdf=mixed_cdf,
        mixed_effect=mixed_effect,
        noise_cdf=zipf_cdf(s.noise.values if s.noise else 1, ids.zipf),
    )


def zipf_cdf(values: int, exponent: float) -> Floats:
    """Return the running sum of probabilities in proportion to rank^-exponent: [values]."""
    weights = np.arange(1, values + 1, dtype=np.float64) ** -exponent
    total = np.cumsum(weights)
    return total / total[-1]


def _spread(r: np.random.Generator, n: int, strength: float) -> Floats:
    return r.standard_normal(n) * strength


def _histories(s: AdWorldSettings, category: Ints, seed: int) -> tuple[NDArray[np.bool_], Ints, Ints, Ints]:
    history = s.history
    users, categories = s.ids.users, s.ids.categories
    if history is None:
        nothing = np.zeros((users, 0), np.int64)
        return np.zeros((users, categories), bool), nothing, np.zeros(users, np.int64), nothing
    r = rng(seed, 0, 7)
    liked = np.argsort(r.random((users, categories)), axis=1)[:, : history.interests]
    likes = np.zeros((users, categories), bool)
    np.put_along_axis(likes, liked, True, axis=1)
    lengths = r.integers(history.shortest, history.longest + 1, users)
    return (
        likes,
        _events(history, liked, category, r),
        lengths,
        np.minimum(r.geometric(0.3, (users, history.longest)), 30),
    )


def _events(history: History, liked: Ints, category: Ints, r: np.random.Generator) -> Ints:
    """Draw the behaviours of every user, newest last: [users, longest] ads."""
    users = len(liked)
    shape = (users, history.longest)
    by_category = np.argsort(category, kind="stable")
    sizes = np.bincount(category)
    starts = np.cumsum(sizes) - sizes
    wanted = np.take_along_axis(liked, r.integers(0, history.interests, shape), axis=1)
    inside = by_category[starts[wanted] + (r.random(shape) * sizes[wanted]).astype(np.int64)]
    stray = r.random(shape) < history.strays
    if history.newest_empty:
        stray[:, -history.newest_empty :] = True
    return np.where(stray, r.integers(0, len(category), shape), inside)


def _vectors(s: AdWorldSettings, category: Ints, seed: int) -> tuple[NDArray[np.float32], Floats]:
    if s.vectors is None:
        return np.zeros((s.ids.ads, 0), np.float32), np.zeros(s.ids.ads)
    r = rng(seed, 0, 8)
    dim = s.vectors.dim
    centres = r.standard_normal((s.ids.categories, dim))
    vectors = (0.6 * centres[category] + 0.8 * r.standard_normal((s.ids.ads, dim))).astype(np.float32)
    direction = r.standard_normal(dim)
    score = vectors.astype(np.float64) @ direction
    return vectors, (score - score.mean()) / (score.std() or 1.0)


def _lifetimes(
    lifetimes: Lifetimes | None, signal: Floats, ads: int, seed: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    if lifetimes is None:
        return np.zeros(0), np.zeros(0, bool), np.zeros(0, bool)
    r = rng(seed, 0, 9)
    worn_out = r.random(ads) >= lifetimes.cut_out
    shape = np.where(worn_out, 2.5, 0.7)
    scale = np.where(worn_out, 60.0, 10.0) * np.exp(lifetimes.strength * signal)
    days = scale * (-np.log1p(-r.random(ads))) ** (1.0 / shape)
    return np.minimum(days, lifetimes.horizon), days < lifetimes.horizon, worn_out


def _domains(s: AdWorldSettings, seed: int) -> tuple[Floats, Ints, Floats]:
    if s.domains is None:
        return np.zeros(1), np.zeros(1, np.int64), np.zeros(1)
    r, d = rng(seed, 0, 10), s.domains
    level = r.standard_normal(d.count) * 0.5 * d.strength
    style = r.standard_normal(d.values)
    style = (style - style.mean()) / (style.std() or 1.0) * d.strength
    return level, np.arange(d.count) % d.clusters, style


def _pair(pair: Pair, r: np.random.Generator) -> PairTruth:
    n = pair.values
    if pair.kind == "memorised":
        cells = np.where(r.random((n, n)) < 0.5, -pair.strength, pair.strength)
        return PairTruth(pair.kind, n, np.zeros((n, 0)), np.zeros((n, 0)), cells)
    if pair.kind == "factorised":
        left, right = r.standard_normal((2, n, pair.rank))
        return PairTruth(pair.kind, pair.rank, left * pair.strength / np.sqrt(pair.rank), right, None)
    left, right = r.standard_normal((2, n)) * pair.strength / np.sqrt(2.0)
    ones = np.ones(n)
    return PairTruth(pair.kind, 0, np.stack([left, ones], 1), np.stack([ones, right], 1), None)


def _mixed(s: AdWorldSettings, seed: int) -> tuple[Floats, Floats]:
    if s.mixed is None:
        return zipf_cdf(1, 1.0), np.zeros((0, 1))
    r, m = rng(seed, 0, 11), s.mixed
    effect = r.standard_normal((m.fields, m.values)) * m.strength
    if m.which == "frequent":
        useful = np.broadcast_to(np.arange(m.values) < m.useful * m.values, effect.shape)
    else:
        useful = r.random(effect.shape) < m.useful
    return zipf_cdf(m.values, s.ids.zipf), np.where(useful, effect, 0.0)
