"""Exact area under the ROC curve: the chance that a click is scored above a non-click, ties counting one half.

One sort of 64-bit keys (group, score and label packed together) gives the AUC of every group; nothing loops.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clicksmith.evaluate.interval import Influence
from clicksmith.evaluate.scored import Floats, Scored, Scores, require_both_classes, scored


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts by group: pairs won (ties one half), and the weight of positives and negatives.

    Shape: every array is [groups], in the order of `group`.
    """

    group: NDArray[np.int64]
    won: Floats
    positives: Floats
    negatives: Floats
    rows: NDArray[np.int64]


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the exact AUC of any scores (logits or probabilities). O(n log n).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return auc_of(scored(labels, logits=scores, weights=weights))


def auc_of(rows: Scored) -> float:
    """Return the AUC of checked rows. Raises DataError if all labels are equal."""
    require_both_classes(rows, "auc")
    if rows.weights is not None:
        pairs = count_pairs(rows, by_group=False)
        return float(pairs.won[0] / pairs.positives[0] / pairs.negatives[0])
    few, many = np.sort(rows.scores[rows.labels]), np.sort(rows.scores[~rows.labels])
    clicks_are_few = few.size <= many.size
    if not clicks_are_few:
        few, many = many, few
    below = int(np.searchsorted(many, few, "left").sum()) + int(np.searchsorted(many, few, "right").sum())
    share = below / (2 * few.size * many.size)  # the quickest exact way: two vectorised sorts, integers throughout
    return share if clicks_are_few else 1.0 - share


def auc_influence(rows: Scored) -> Influence:
    """Return the AUC with each row's influence; the sum of squares is DeLong's variance (Biometrics 1988).

    A positive's influence is w (V - AUC) / W over the positives, V the share of negatives scored below it; for
    negatives likewise. Costs O(n log n), as in Sun and Xu (IEEE Signal Processing Letters 2014). Of a single click or
    a single non-click nothing says how far another would lie: it is `lone`.
    """
    require_both_classes(rows, "auc")
    placed, weights = placements(rows), rows.row_weights
    value, influence = auc_of(rows), np.zeros(len(rows))
    counts: dict[str, int] = {}
    for what, mine in (("click", rows.labels), ("non-click", ~rows.labels)):
        total, count = weights[mine].sum(), int(np.count_nonzero(weights[mine]))
        influence[mine] = weights[mine] * (placed[mine] - value) / total * np.sqrt(count / max(count - 1, 1))
        counts[what] = count
    lone = next((what for what, count in counts.items() if count < 2), "")
    return Influence(value, influence, trials=min(counts.values()), lone=lone)


def placements(rows: Scored) -> Floats:
    """Return, for a positive, the share of negatives scored below it; for a negative, of positives above it [n]."""
    key = ordered_bits(rows.scores)
    order = np.argsort(key)
    positive = np.where(rows.labels, rows.row_weights, 0.0)[order]
    negative = np.where(rows.labels, 0.0, rows.row_weights)[order]
    first = run_starts(key[order])
    ups, downs = np.add.reduceat(positive, first), np.add.reduceat(negative, first)
    below = np.cumsum(downs) - 0.5 * downs
    above = ups.sum() - np.cumsum(ups) + 0.5 * ups
    runs = np.diff(np.append(first, len(rows)))
    placed = np.empty(len(rows))
    placed[order] = np.where(
        rows.labels[order], np.repeat(below / downs.sum(), runs), np.repeat(above / ups.sum(), runs)
    )
    return placed


def count_pairs(rows: Scored, *, by_group: bool) -> Pairs:
    """Return the pairs won in each group, or over all rows as one group."""
    key = (ordered_bits(rows.scores) << np.uint64(1)) | rows.labels
    if by_group and rows.groups is not None:
        key |= rows.groups.astype(np.uint64) << np.uint64(33)
    if rows.weights is None:
        key.sort()
        positive = (key & np.uint64(1)).astype(np.int64)  # integers: exact however many rows there are
        negative = 1 - positive
    else:
        order = np.argsort(key)
        key, weights, labels = key[order], rows.weights[order], rows.labels[order]
        positive, negative = np.where(labels, weights, 0.0), np.where(labels, 0.0, weights)
    key >>= np.uint64(1)
    first = run_starts(key)
    ups, downs = np.add.reduceat(positive, first), np.add.reduceat(negative, first)
    group = key[first] >> np.uint64(32)
    edges = run_starts(group)
    below = np.cumsum(downs) - downs
    below -= np.repeat(below[edges], np.diff(np.append(edges, group.size)))
    return Pairs(
        group=group[edges].astype(np.int64),
        won=np.add.reduceat(ups * (2 * below + downs), edges) / 2,
        positives=np.add.reduceat(ups, edges).astype(np.float64),
        negatives=np.add.reduceat(downs, edges).astype(np.float64),
        rows=np.diff(np.append(first[edges], len(rows))),
    )


def ordered_bits(scores: Scores) -> NDArray[np.uint64]:
    """Return integers below 2^32 that compare and tie as the scores do."""
    if scores.dtype == np.float32:
        bits = (scores + np.float32(0)).view(np.uint32)  # + 0 makes -0.0 equal 0.0
        sign = np.uint32(0x80000000)
        return np.where(bits & sign, ~bits, bits | sign).astype(np.uint64)
    order = np.argsort(scores)
    ranked = scores[order]
    rank = np.empty(scores.size, np.uint64)
    rank[order] = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
    return rank


def run_starts(sorted_keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where each run of equal keys begins."""
    return np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
