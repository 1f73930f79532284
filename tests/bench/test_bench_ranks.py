"""Real or noise: seeds of one model tie, a planted difference does not, and what is said to be 5 % is."""

import numpy as np
import pytest
from scipy import stats

from clicksmith.bench.ranks import holm, rank, shown_p, student_p, student_quantile
from clicksmith.errors import UsageError
from clicksmith.evaluate import auc, compare

FRAPPE = 28_860


def world(rows: int, random: np.random.Generator, rate: float = 0.33):
    labels = (random.random(rows) < rate).astype(np.uint8)
    return labels, np.where(labels == 1, 1.0, -1.0)


def model(
    signal, random, *, seeds: int, strength: float = 1.0, own: float = 0.5, luck: float = 0.1, wobble: float = 0.0
):
    """Logits of a model: the signal, noise of the rows, noise that all its seeds share, and each seed's own.

    `wobble`: how much seeds differ in strength, which other test rows would show just as well.
    """
    shared = own * random.standard_normal(signal.size)
    return [
        ((strength + wobble * random.standard_normal()) * signal + shared + luck * random.standard_normal(signal.size))
        .astype(np.float16)
        for _ in range(seeds)
    ]  # fmt: skip


def simulated(draws: int, seeds: tuple[int, int], *, strength: float = 1.0, extra: int = 0) -> float:
    """Return how often two models of one kind (or b better by strength) are said to differ."""
    random = np.random.default_rng(7)
    found = 0
    for _ in range(draws):
        labels, signal = world(1500, random)
        rows = 0.8 * random.standard_normal(signal.size)  # hard rows are hard for all
        kinds = {"a": (1.0, seeds[0]), "b": (strength, seeds[1])} | {f"x{i}": (1.0, 4) for i in range(extra)}
        predictions = {
            name: [(one + rows).astype(np.float16) for one in model(signal, random, seeds=n, strength=s, wobble=0.02)]
            for name, (s, n) in kinds.items()
        }
        pairs = rank(labels, predictions).pairs
        found += next(pair.p for pair in pairs if (pair.a, pair.b) == ("a", "b")) < 0.05
    return found / draws


@pytest.mark.parametrize(("seeds", "extra"), [((5, 5), 0), ((2, 3), 0), ((1, 1), 2), ((5, 1), 0)])
def test_models_of_one_kind_are_said_to_differ_in_about_five_percent_of_worlds(seeds, extra):
    share = simulated(400, seeds, extra=extra)
    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert simulated(60, seeds, strength=1.3, extra=extra) > 0.9  # and it is not blind


def test_without_a_seed_term_the_same_worlds_would_be_told_apart_too_often():
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(100):
        labels, signal = world(1500, random)
        a, b = model(signal, random, seeds=2, own=0.5, luck=0.05, wobble=0.1)
        wrong += compare(labels, a, b).p < 0.05
    assert wrong > 20  # two seeds of one model, compared as if they were two models


def frappe(better: float):
    """Make predictions at Frappe's size: model b beats model a by about `better` AUC, seeds differ by .0004."""
    random = np.random.default_rng(11)
    labels, signal = world(FRAPPE, random)
    rows = 0.64 * random.standard_normal(FRAPPE)  # an AUC of about .983

    def seeds(strength: float, count: int = 5):
        shared = 0.1 * random.standard_normal(FRAPPE)
        return [
            ((strength + 0.004 * random.standard_normal()) * signal + rows + shared
             + 0.1 * random.standard_normal(FRAPPE)).astype(np.float16)
            for _ in range(count)
        ]  # fmt: skip

    return labels, {"a": seeds(1.0), "same": seeds(1.0), "b": seeds(1.0 + better)}


def test_at_the_size_of_frappe_seeds_tie_and_a_planted_difference_of_three_thousandths_does_not():
    labels, predictions = frappe(0.034)
    planted = np.mean([auc(labels, x) for x in predictions["b"]]) - np.mean([auc(labels, x) for x in predictions["a"]])
    assert 0.0025 < planted < 0.0035
    ranking = rank(labels, predictions, resamples=200)
    assert {one.model: one.rank for one in ranking.standings} == {"b": 1, "a": 2, "same": 2}
    pairs = {(pair.a, pair.b): pair for pair in ranking.pairs}
    tie, real = pairs["a", "same"], pairs["a", "b"]
    assert not tie.significant and tie.holm > 0.05 and tie.bootstrap_p > 0.05 and tie.low < 0 < tie.high
    assert real.significant and real.holm < 1e-3 and real.bootstrap_p < 0.02
    assert real.low < planted < real.high and real.effect == pytest.approx(planted, abs=1e-9)
    assert real.bootstrap == pytest.approx((real.low, real.high), abs=4e-4)


def test_two_seeds_of_one_model_entered_as_two_models_tie_where_the_spread_of_seeds_is_known():
    labels, predictions = frappe(0.034)
    one, two, *_ = predictions["same"]
    ranking = rank(labels, {"one": [one], "two": [two], "a": predictions["a"]})
    assert {standing.rank for standing in ranking.standings} == {1}
    assert ranking.notes == ("one seed: one, two; the spread of the other models is taken for theirs.",)


def test_one_seed_everywhere_is_delongs_test_and_says_so():
    random = np.random.default_rng(0)
    labels, signal = world(500, random)
    a, b = model(signal, random, seeds=1)[0], model(signal, random, seeds=1, strength=1.1)[0]
    (pair,) = (ranking := rank(labels, {"a": [a], "b": [b]})).pairs
    delong = compare(labels, a, b)
    assert (pair.effect, pair.p) == pytest.approx((delong.effect, delong.p), rel=1e-6)
    assert (pair.low, pair.high) == pytest.approx((delong.low, delong.high), rel=1e-6)
    assert pair.seeds_error == 0
    assert "one seed a model" in ranking.notes[0]
    assert [one.sd for one in ranking.standings] == [None, None]
    assert "one seed a model" in rank(labels, {"a": [a]}).notes[0]  # there are no others whose spread is known


def test_tied_models_share_a_rank_and_the_next_counts_all_above():
    random = np.random.default_rng(5)
    labels, signal = world(4000, random)
    strengths = {"low": 0.3, "high": 1.0, "alike": 1.0, "middle": 0.6}
    ranking = rank(labels, {name: model(signal, random, seeds=3, strength=s) for name, s in strengths.items()})
    assert {one.model: one.rank for one in ranking.standings} == {"high": 1, "alike": 1, "middle": 3, "low": 4}
    assert {one.model: one.tied for one in ranking.standings}["high"] == ("alike",)
    assert all(one.low < one.auc < one.high for one in ranking.standings)


def test_a_model_of_few_seeds_that_is_tied_with_the_best_does_not_stand_above_better_models():
    random = np.random.default_rng(5)
    labels, signal = world(6000, random)
    rows = 0.5 * random.standard_normal(signal.size)

    def seeds(*strengths: float):
        return [strength * signal + rows + 0.1 * random.standard_normal(signal.size) for strength in strengths]

    predictions = {
        "best": seeds(1.0, 1.01, 0.99), "second": seeds(0.9, 0.91, 0.89), "third": seeds(0.8, 0.81, 0.79),
        "loose": seeds(0.95, 0.6),
    }  # fmt: skip
    ranking = rank(labels, predictions)
    standings = {one.model: one for one in ranking.standings}
    assert list(standings) == ["best", "second", "third", "loose"]  # by mean AUC
    assert standings["loose"].tied == ("best", "second", "third")
    assert {name: (one.rank, one.best, one.worst) for name, one in standings.items()} == {
        "best": (1, 1, 2), "second": (2, 2, 3), "third": (3, 3, 4), "loose": (3, 1, 4),
    }  # fmt: skip


def test_ranks_are_cliques_of_neighbours_and_lie_in_what_the_differences_leave_open():
    random = np.random.default_rng(9)
    labels, signal = world(2000, random)
    rows = 0.8 * random.standard_normal(signal.size)
    for _ in range(30):
        predictions = {
            f"m{i}": [
                (strength + 0.03 * random.standard_normal()) * signal + rows + 0.3 * random.standard_normal(signal.size)
                for _ in range(random.integers(1, 5))
            ]
            for i, strength in enumerate(random.uniform(0.7, 1.2, 8))
        }
        ranking = rank(labels, predictions)
        differ = {frozenset((pair.a, pair.b)) for pair in ranking.pairs if pair.significant}
        aucs, ranks = [one.auc for one in ranking.standings], [one.rank for one in ranking.standings]
        assert aucs == sorted(aucs, reverse=True) and ranks == sorted(ranks)
        for i, one in enumerate(ranking.standings):
            assert one.best <= one.rank <= one.worst and one.best <= i + 1 <= one.worst
            group = [other.model for other in ranking.standings if other.rank == one.rank]
            assert not any(frozenset((one.model, other)) in differ for other in group)
            others = {other.model for other in ranking.standings} - {one.model}
            assert set(one.tied) == {other for other in others if frozenset((one.model, other)) not in differ}
            if i and one.rank != ranks[i - 1]:  # and no group ends early
                before = [other.model for other in ranking.standings if other.rank == ranks[i - 1]]
                assert any(frozenset((one.model, other)) in differ for other in before)


def test_the_same_predictions_tie_exactly():
    labels, signal = world(300, random := np.random.default_rng(1))
    same = model(signal, random, seeds=1)
    (pair,) = rank(labels, {"a": same, "b": same}).pairs
    assert (pair.effect, pair.p, pair.significant) == (0, 1, False)


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.001, 0.02, 0.02, 0.9]) == pytest.approx([0.004, 0.06, 0.06, 0.9])
    assert holm([0.5, 0.6]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "< 0.0001"), (9.9e-5, "< 0.0001"), (1e-4, "0.0001"), (0.0312, "0.031"), (1.0, "1")]
)
def test_no_p_value_is_shown_as_zero(p, shown):
    assert shown_p(p) == shown


@pytest.mark.parametrize("freedom", [2.5, 4, 8, 40, float("inf")])
def test_students_t_is_close_to_the_exact_one(freedom):
    exact = stats.norm if np.isinf(freedom) else stats.t(freedom)
    for t in (0.5, 1.0, 2.0, 3.0):
        assert student_p(t, freedom) == pytest.approx(2 * exact.sf(t), rel=0.06, abs=2e-3)
    assert student_quantile(0.95, freedom) == pytest.approx(exact.ppf(0.975), rel=0.05)
    assert student_p(student_quantile(0.9, freedom), freedom) == pytest.approx(0.1)


def test_nothing_to_rank_is_refused():
    for nothing in ({}, {"a": []}):
        with pytest.raises(UsageError, match="nothing to rank"):
            rank(np.array([0, 1], np.uint8), nothing)


def of_users(users: int, each: int, random: np.random.Generator):
    """Rows of users, and two models of one strength that are each good at other users."""
    labels, signal = world(users * each, random)
    groups = np.repeat(np.arange(users), each)
    a, b = ((1.0 + 0.8 * random.standard_normal(users))[groups] * signal for _ in range(2))
    noise = random.standard_normal((2, signal.size))
    return labels, groups, {"a": [a + noise[0]], "b": [b + noise[1]]}


def test_rows_of_one_user_count_together():
    random = np.random.default_rng(4)
    labels, groups, predictions = of_users(40, 100, random)
    rows, whole = (rank(labels, predictions, groups=g, resamples=400) for g in (None, groups))
    (by_row,), (by_user,) = rows.pairs, whole.pairs
    assert by_user.effect == by_row.effect and by_user.rows_error > 3 * by_row.rows_error
    exact = compare(labels, predictions["a"][0], predictions["b"][0], groups=groups, by_group=True)
    assert by_user.effect == pytest.approx(exact.effect)
    assert by_user.rows_error == pytest.approx((exact.high - exact.low) / 2 / stats.norm.ppf(0.975))
    assert by_user.high - by_user.low == pytest.approx(2 * stats.t.ppf(0.975, 39) * by_user.rows_error, rel=0.01)
    assert np.ptp(by_user.bootstrap) == pytest.approx(by_user.high - by_user.low, rel=0.2)
    assert np.ptp(by_user.bootstrap) > 2.5 * np.ptp(by_row.bootstrap)
    for one, other in zip(rows.standings, whole.standings, strict=True):
        assert one.auc == other.auc and other.high - other.low > 2 * (one.high - one.low)


def test_models_that_are_good_at_other_users_differ_in_about_five_percent_of_worlds():
    random = np.random.default_rng(5)
    found = {"rows": 0, "users": 0}
    for _ in range(200):
        labels, groups, predictions = of_users(30, 20, random)
        found["rows"] += rank(labels, predictions).pairs[0].p < 0.05
        found["users"] += rank(labels, predictions, groups=groups).pairs[0].p < 0.05
    assert found["users"] < 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)
    assert found["rows"] > 200 * 0.15


def test_a_group_for_each_row_is_no_group_at_all_and_one_for_all_says_nothing():
    labels, signal = world(2000, random := np.random.default_rng(6))
    predictions = {name: model(signal, random, seeds=2) for name in ("a", "b")}
    without = rank(labels, predictions, resamples=5)
    alone = rank(labels, predictions, groups=random.permutation(2000), resamples=5)
    assert alone.pairs[0].rows_error == pytest.approx(without.pairs[0].rows_error, rel=1e-3)
    one = rank(labels, predictions, groups=np.full(2000, 3), resamples=5)
    assert (one.pairs, one.standings) == (without.pairs, without.standings)
    assert one.notes[0].startswith("all test rows are of one group")


def test_a_resample_of_few_users_has_rows_of_both_classes():
    labels = np.array([1, 1, 0, 0], np.uint8)
    predictions = {"a": [np.array([0.3, 0.1, 0.2, 0.0])], "b": [np.array([0.1, 0.0, 0.2, 0.3])]}
    (pair,) = rank(labels, predictions, groups=np.array([0, 0, 1, 1]), resamples=50).pairs
    assert np.isfinite(pair.bootstrap).all()
