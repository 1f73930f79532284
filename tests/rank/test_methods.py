"""The paper's rule against a loop and the mistakes of its package; the baselines against what they are known for."""

import math
from collections import Counter

import numpy as np
import pytest
from stored import store_of

from clicksmith.errors import DataError, UnknownNameError, UsageError
from clicksmith.rank import rank_store
from clicksmith.rank.methods import BATCH, METHODS, rotated


def looped(codes, labels, turn=0):
    """The rule as coded: rows are split by label value, the control's label column is rotated by the value's rows."""
    n, total = len(codes), 0.0

    def entropy(values):
        return -sum(c / len(values) * math.log(c / len(values)) for c in Counter(values).values())

    for value in (0, 1):
        mine = [i for i in range(n) if labels[i] == value]
        inside, control = [codes[i] for i in mine], [codes[(i + len(mine) + turn) % n] for i in mine]
        total += len(mine) / n * (entropy(control) - entropy(inside))
    return total


def world(rows=500, size=12, seed=0):
    random = np.random.default_rng(seed)
    codes = random.integers(0, size, rows)
    return codes, (random.random(rows) < 0.1 + 0.4 * (codes % 3 == 0)).astype(np.int64)


def scores(store, score, **options):
    return {f.field: f.score for f in rank_store(store, score=score, **options).fields}


def test_the_rule_equals_the_loop():
    codes, labels = world()
    assert rotated(codes, labels, 12, (0,)) == pytest.approx(looped(codes, labels), abs=1e-12)
    three = np.mean([looped(codes, labels, turn) for turn in (0, 7, 400)])
    assert rotated(codes, labels, 12, (0, 7, 400)) == pytest.approx(three, abs=1e-12)


def test_the_score_is_the_median_over_batches_and_a_small_rest_is_dropped():
    codes, labels = world(3 * BATCH + 1_000, size=40)
    parts = [slice(i * BATCH, (i + 1) * BATCH) for i in range(3)]
    wanted = np.median([rotated(codes[p] + 2, labels[p], 43, (0,)) for p in parts])
    assert scores(store_of(codes[:, None], labels), "outrank")["f0"] == pytest.approx(wanted, abs=1e-12)


def test_few_rows_are_ranked_all_the_same():
    codes, labels = world(900)
    assert scores(store_of(codes[:, None], labels), "outrank")["f0"] > 0.02  # the package writes nothing, exit code 0


def test_two_independent_columns_of_equal_sums_score_about_nothing():
    """The package takes columns of equal sums for one and the same and does not correct them."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat([0, 1], 8_000))
    codes = random.permutation(np.concatenate([np.zeros(15_900, np.int64), np.arange(100)]))
    codes[np.flatnonzero(codes == 0)[: labels.sum() - codes.sum()]] = 1
    assert codes.sum() == labels.sum()
    assert abs(rotated(codes, labels, 100, (0,))) < 0.005


def test_more_rotations_are_less_noisy_and_repeat():
    random = np.random.default_rng(1)
    labels = (random.random(8_000) < 0.2).astype(np.int64)
    store = store_of(random.integers(0, 3_000, (8_000, 12)), labels)
    one, many = (np.array(list(scores(store, "outrank", rotations=r).values())) for r in (1, 8))
    assert np.std(many) < np.std(one)
    assert scores(store, "outrank", rotations=8, seed=3) == scores(store, "outrank", rotations=8, seed=3)
    assert scores(store, "outrank", rotations=8, seed=3) != scores(store, "outrank", rotations=8, seed=4)


def test_sorted_rows_spoil_the_rule_which_is_said_and_not_our_score():
    codes, labels = world(8_000)
    order = np.argsort(codes, kind="stable")
    shuffled, ordered = store_of(codes[:, None], labels), store_of(codes[order, None], labels[order])
    assert rank_store(shuffled).fields == rank_store(ordered).fields
    found = rank_store(ordered, score="outrank")
    assert found["f0"].score < 0.7 * rank_store(shuffled, score="outrank")["f0"].score
    assert any("needs shuffled rows" in note for note in found.notes)
    assert not rank_store(shuffled, score="outrank").notes


def test_rows_sorted_by_the_label_are_said_to_be_also_where_the_first_ones_are_alike():
    random = np.random.default_rng(0)
    codes, labels = random.integers(0, 30, (80_000, 1)), np.repeat([0, 1], [72_000, 8_000])
    found = rank_store(store_of(codes, labels), score="outrank")
    assert any("needs shuffled rows" in note for note in found.notes)
    for rows in (80_000, 5_000, 5_000, 6_000, 9_000, 9_000):
        labels = (random.random(rows) < 0.1).astype(np.int64)
        notes = rank_store(store_of(random.integers(0, 30, (rows, 1)), labels), score="outrank").notes
        assert not [note for note in notes if "shuffled" in note]


def test_plain_information_puts_a_noisy_id_first_and_ours_does_not():
    random = np.random.default_rng(0)
    codes, labels = world(8_000)
    store = store_of(np.stack([codes, random.integers(0, 4_000, 8_000)], 1), labels)
    assert rank_store(store, score="mi").fields[0].field == "f1"
    for score in ("adjusted_mi", "permutation", "chi2", "holdout", "outrank"):
        assert rank_store(store, score=score).fields[0].field == "f0", score


def test_permutations_agree_with_the_exact_mean():
    codes, labels = world(3_000, 60)
    store = store_of(codes[:, None], labels)
    found = rank_store(store, score="permutation")["f0"]
    assert found.score == pytest.approx(found.information, abs=3 * found.spread / math.sqrt(20))


def test_holdout_measures_on_later_rows():
    """A field whose meaning turns round in the last fifth costs log loss there; a steady one saves it."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 2, (10_000, 2))
    turned = np.where(np.arange(10_000) < 8_000, codes[:, 1], 1 - codes[:, 1])
    labels = (random.random(10_000) < 0.1 + 0.2 * codes[:, 0] + 0.2 * turned).astype(np.int64)
    found = scores(store_of(codes, labels), "holdout")
    assert found["f0"] > 0.005 and found["f1"] < -0.005
    steady = {f.field: f.information for f in rank_store(store_of(codes, labels)).fields}
    assert steady["f1"] > 0.005


def test_holdout_asks_for_rows_in_order_of_time():
    codes, labels = world(2_000)
    times = np.arange(2_000.0)
    times[7] = 0
    with pytest.raises(DataError, match=r"row 8: its time is before that of row 7.*Sort the rows by time"):
        rank_store(store_of(codes[:, None], labels, time=times), score="holdout")
    times[7], times[8], times[9] = 7, np.nan, 3
    with pytest.raises(DataError, match=r"row 10: its time is before that of row 8"):
        rank_store(store_of(codes[:, None], labels, time=times), score="holdout")


def test_a_forest_finds_the_field():
    random = np.random.default_rng(0)
    codes, labels = world(2_000)
    found = scores(store_of(np.stack([random.integers(0, 12, 2_000), codes], 1), labels), "forest")
    assert found["f1"] > found["f0"] and sum(found.values()) == pytest.approx(1.0)


def test_weighted_rows_take_their_chance_from_permutations():
    codes, labels = world(2_000)
    random = np.random.default_rng(0)
    both = np.stack([codes, random.integers(0, 300, 2_000)], 1)
    weighted = rank_store(store_of(both, labels, weight=np.full(2_000, 2.0, np.float32)))
    plain = rank_store(store_of(both, labels))
    for name in ("f0", "f1"):
        near = 4 * plain[name].spread / math.sqrt(20)
        assert weighted[name].information == pytest.approx(plain[name].information, abs=near)
        assert weighted[name].mutual_information == pytest.approx(plain[name].mutual_information)
    with pytest.raises(UsageError, match="'outrank' knows no weights"):
        rank_store(store_of(both, labels, weight=np.ones(2_000, np.float32)), score="outrank")


def test_any_seed_draws_and_draws_the_same_again():
    codes, labels = world(900)
    store = store_of(codes[:, None], labels)
    for seed in (20_240_501, 2**40 + 3):
        one, two = (rank_store(store, seed=seed, pairs=0) for _ in range(2))
        assert one.fields == two.fields and one.controls == two.controls
        assert one.controls != rank_store(store, seed=0).controls


def test_holdout_needs_rows_and_both_classes_to_learn_from():
    codes, labels = world(200)
    with pytest.raises(DataError, match=r"holdout 0.999 of 200 rows leaves a part without rows"):
        rank_store(store_of(codes[:, None], labels), score="holdout", holdout=0.999)
    with pytest.raises(DataError, match=r"the first 160 rows, on which `holdout` learns, are of one class"):
        rank_store(store_of(codes[:, None], np.sort(np.arange(200) >= 170).astype(np.int64)), score="holdout")


def test_what_makes_no_sense_is_refused():
    codes, labels = world(50)
    store = store_of(codes[:, None], labels)
    for options, match in (
        ({"score": "outrank", "rotations": 0}, "rotations is 0"),
        ({"score": "holdout", "holdout": 1.0}, "holdout is 1"),
        ({"rotations": 5}, "rotations is of score 'outrank', and the score is 'adjusted_mi'; leave rotations out, or"),
        ({"score": "outrank", "holdout": 0.3}, "holdout is of score 'holdout', and the score is 'outrank'"),
        ({"pairs": -1}, "pairs is -1"),
        ({"pairs": 1}, "pairs is 1; it is how many of the best fields are looked at two by two: 2 or more"),
        ({"label": "buy"}, "no label 'buy'"),
    ):
        with pytest.raises(UsageError, match=match):
            rank_store(store, **options)
    with pytest.raises(UnknownNameError, match="Did you mean 'adjusted_mi'"):
        rank_store(store, score="ajusted_mi")
    with pytest.raises(DataError, match=r"'click' is 1 in all 50 rows"):
        rank_store(store_of(codes[:, None], np.ones(50, np.int64)))
    assert "few" in rank_store(store).notes[0]
    assert set(METHODS) == {"adjusted_mi", "outrank", "mi", "chi2", "permutation", "holdout", "forest"}
