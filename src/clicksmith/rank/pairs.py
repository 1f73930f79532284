"""Pairs among the best fields: what two say together that neither says alone, and what they say twice. Paper: outrank.

On a sample of rows. Joint codes are exact pairs of codes, never strings put together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.store import Store
from clicksmith.rank.counts import checked
from clicksmith.rank.mutual import NullOfLabel, entropy, mutual_information
from clicksmith.rank.views import Codes, View, sampled

ROWS = 1 << 16
"""Rows of the sample."""
LEAST = 0.05
"""Share of the poorer field's entropy that a copy must have beyond chance for redundancy to be told."""


class PairScore(msgspec.Struct, frozen=True):
    """Two fields together.

    relation: mutual information of the pair with the label beyond chance, less that of the better single field; nats
    synergy: the same less that of both single fields: above 0 if the two interact
    z: synergy, before it was lowered, in standard deviations of what chance gives the pair
    redundancy: what the fields share beyond chance, of what a copy would: 1 where one knows the other, 0 for
    independent ones, and where (nearly) every row has a value of its own, so that none could be told from a copy
    """

    fields: tuple[str, str]
    relation: float
    synergy: float
    z: float
    redundancy: float


def pair_scores(store: Store, views: Sequence[View], label: int, seed: int) -> tuple[PairScore, ...]:
    """Return every pair of the views' fields, the strongest relation first. Paper: outrank.

    A pair of many values is known less surely: relation and synergy are lowered by one standard deviation of chance.
    """
    numbers = sampled(store.rows, ROWS, seed)
    rows = store.take(numbers)
    labels, _ = checked(store.targets, numbers, 0, label)
    null = NullOfLabel(len(labels), int(labels.sum()))
    order = np.random.default_rng(seed).permutation(len(labels))
    codes: dict[str, Codes] = {v.field: np.unique(v.read(rows, 0), return_inverse=True)[1].reshape(-1) for v in views}
    alone = {name: _beyond_chance(code, labels, null)[0] for name, code in codes.items()}
    spread = {name: entropy(np.bincount(code)) for name, code in codes.items()}
    found: list[PairScore] = []
    for one, two in combinations(codes, 2):
        joint = joined(codes[one], codes[two])
        together, deviation = _beyond_chance(joint, labels, null)
        apart = entropy(np.bincount(joined(codes[one], codes[two][order])))
        most = apart - max(spread[one], spread[two])  # what a copy has: on few rows many values look alike by chance
        told = most > max(LEAST * min(spread[one], spread[two]), 1e-12)
        shared = min(1.0, max(0.0, (apart - entropy(np.bincount(joint))) / most)) if told else 0.0
        singles = alone[one], alone[two]
        more, surely = together - sum(singles), together - deviation
        z = more / deviation if deviation > 0 else 0.0
        found.append(PairScore((one, two), surely - max(singles), surely - sum(singles), z, shared))
    return tuple(sorted(found, key=lambda pair: -pair.relation))


def joined(one: Codes, two: Codes) -> Codes:
    """Return a dense code for each pair of codes: equal pairs alone get equal codes."""
    both = one * (int(two.max(initial=0)) + 1) + two
    if int(both.max(initial=0)) < 4 * len(both):
        there = np.bincount(both) > 0
        return (np.cumsum(there) - 1)[both]
    return np.unique(both, return_inverse=True)[1].reshape(-1)


def _beyond_chance(codes: Codes, labels: NDArray[np.int64], null: NullOfLabel) -> tuple[float, float]:
    table = np.bincount(codes * 2 + labels, minlength=2 * (int(codes.max(initial=0)) + 1)).reshape(-1, 2)
    rows = table.sum(1)
    plain, chance = mutual_information(rows, table[:, 1]), null.of(rows)
    return plain - chance.mean, math.sqrt(chance.variance)


def relevant_and_new(relevance: Mapping[str, float], pairs: Sequence[PairScore]) -> tuple[str, ...]:
    """Return the fields in the order of 3MR: most relevant, least redundant, best related to those chosen before.

    Relevance and relation are divided by the largest of both, redundancy is a share already. The paper scales each
    from its least to its largest, so that noise alone fills the scale, and takes the median redundancy to the chosen
    fields, which forgets a copy as soon as two others are chosen; here it is the largest. Paper: outrank.
    """
    names = list(relevance)
    place = {name: i for i, name in enumerate(names)}
    redundancy, relation = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    scale = max(1e-300, *relevance.values(), *(pair.relation for pair in pairs))
    for pair in pairs:
        i, j = (place[name] for name in pair.fields)
        redundancy[i, j] = redundancy[j, i] = pair.redundancy
        relation[i, j] = relation[j, i] = max(0.0, pair.relation) / scale
    worth = np.maximum(np.array(list(relevance.values())), 0.0) / scale
    chosen: list[int] = []
    left = list(range(len(names)))
    while left:
        gain = worth[left]
        if chosen:
            gain = gain - redundancy[np.ix_(left, chosen)].max(1) + np.median(relation[np.ix_(left, chosen)], 1)
        best = left[int(np.argmax(gain))]
        chosen.append(best)
        left.remove(best)
    return tuple(names[i] for i in chosen)
