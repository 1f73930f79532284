"""NDCG, MRR and HitRate against the average over every order of tied rows."""

import time
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.errors import DataError
from clicksmith.evaluate.ranking import EVERYTHING, hit_rate, mrr, ndcg
from clicksmith.evaluate.scored import scored


def of_one_order(clicks: tuple[int, ...], k: int) -> tuple[float, float, float]:
    """NDCG, reciprocal rank and hit of one ranking, from the definitions."""
    top = clicks[:k]
    gained = sum(c / np.log2(rank + 2) for rank, c in enumerate(top))
    ideal = sum(1 / np.log2(rank + 2) for rank in range(min(k, sum(clicks))))
    first = clicks.index(1)
    return gained / ideal, 1 / (first + 1) if first < k else 0.0, float(any(top))


def over_all_orders(clicks: list[int], scores: list[int], k: int) -> np.ndarray:
    found = []
    for order in permutations(range(len(clicks))):
        ranked = [scores[i] for i in order]
        if ranked == sorted(scores, reverse=True):
            found.append(of_one_order(tuple(clicks[i] for i in order), k))
    return np.mean(found, axis=0)


Group = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=6)


@given(st.lists(Group, min_size=1, max_size=4), st.sampled_from([1, 2, 3, 100]))
@settings(max_examples=60, deadline=None)
def test_ties_give_the_mean_over_every_order(groups: list[list[tuple[int, int]]], k: int) -> None:
    groups.append([(1, 0), (0, 1)])
    expected = [
        over_all_orders([c for c, _ in group], [s for _, s in group], k) for group in groups if any(c for c, _ in group)
    ]
    labels = [c for group in groups for c, _ in group]
    scores = np.array([s for group in groups for _, s in group], np.float32)
    rows = scored(labels, logits=scores, groups=np.repeat(np.arange(len(groups)), [len(g) for g in groups]))
    got = [metric(rows, k).value for metric in (ndcg, mrr, hit_rate)]
    np.testing.assert_allclose(got, np.mean(expected, axis=0), atol=1e-12)


def test_the_order_of_rows_and_the_names_of_groups_do_not_matter() -> None:
    random = np.random.default_rng(0)
    labels, scores, groups = random.random(500) < 0.2, random.normal(size=500), random.integers(0, 40, 500)
    order = random.permutation(500)
    for metric in (ndcg, mrr, hit_rate):
        one = metric(scored(labels, logits=scores, groups=groups), 3).value
        two = metric(scored(labels[order], logits=scores[order], groups=[f"u{99 - g}" for g in groups[order]]), 3).value
        assert one == pytest.approx(two, abs=1e-12)


def test_a_perfect_ranking_gives_one() -> None:
    rows = scored([1, 0, 1, 0, 0], logits=[3.0, 1.0, 2.0, 0.0, 5.0], groups=[0, 0, 0, 0, 1])
    assert ndcg(rows).value == mrr(rows, EVERYTHING).value == hit_rate(rows, 1).value == 1.0


@pytest.mark.parametrize(("clicks", "k"), [(1, EVERYTHING), (3, EVERYTHING), (3, 100), (195, EVERYTHING), (40, 30)])
def test_long_ties_equal_the_sum_over_places(clicks: int, k: int) -> None:
    above, tied = 2, 200
    labels = np.arange(above + tied) >= above + tied - clicks
    scores = np.where(np.arange(above + tied) < above, 1.0, 0.0)
    rows = scored(np.append(labels, [1, 0]), logits=np.append(scores, [0.0, 1.0]), groups=(np.arange(204) >= 202) * 1)
    rank, hit, none_yet = 0.0, 0.0, 1.0
    for place in range(tied - clicks + 1):
        first = none_yet * clicks / (tied - place)
        none_yet -= first
        rank += first / (above + place + 1) * (above + place < k)
        hit += first * (above + place < k)
    assert mrr(rows, k).value == pytest.approx((rank + 0.5) / 2, abs=1e-12)
    assert hit_rate(rows, k).value == pytest.approx((hit + 1) / 2, abs=1e-12)


def test_a_group_of_many_tied_rows_takes_no_time() -> None:
    rows = scored(np.arange(300_000) < 2, logits=np.zeros(300_000), groups=np.zeros(300_000, int))
    begun = time.perf_counter()
    assert 0 < mrr(rows).value < 1e-3
    assert time.perf_counter() - begun < 2  # place by place it takes twenty seconds


def test_without_any_click_there_is_no_ranking() -> None:
    with pytest.raises(DataError) as error:
        ndcg(scored([0, 0], logits=[0.0, 1.0], groups=[0, 1]), 5)
    assert str(error.value) == "none of the 2 groups has a click, so 'ndcg@5' is not defined; evaluate on more rows."
