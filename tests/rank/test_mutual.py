"""Mutual information beyond chance, against loops, scikit-learn, permutations and exact tails."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, gamma, hypergeom, norm
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from clicksmith.rank.mutual import Null, NullOfLabel, entropy, mutual_information
from clicksmith.rank.scored import Seen
from clicksmith.rank.views import View


def table(codes, labels):
    size = int(codes.max()) + 1
    return np.bincount(codes, minlength=size), np.bincount(codes[labels == 1], minlength=size)


def looped(codes, labels):
    n, total = len(codes), 0.0
    for x in set(codes.tolist()):
        for y in (0, 1):
            both = int(((codes == x) & (labels == y)).sum())
            if both:
                total += both / n * math.log(both * n / (int((codes == x).sum()) * int((labels == y).sum())))
    return total


def world(size, rows=600, seed=0):
    random = np.random.default_rng(seed)
    codes = random.integers(0, size, rows)
    return codes, (random.random(rows) < 0.15 + 0.3 * (codes % 3 == 0)).astype(np.int64)


@pytest.mark.parametrize("size", [1, 2, 7, 300, 5_000])
def test_plug_in_equals_the_definition_and_scikit_learn(size):
    codes, labels = world(size)
    found = mutual_information(*table(codes, labels))
    assert found == pytest.approx(looped(codes, labels), abs=1e-12)
    assert found == pytest.approx(mutual_info_score(codes, labels), abs=1e-9)


def test_it_is_symmetric_and_knows_relabelled_values_for_the_same():
    codes, labels = world(2)
    assert mutual_information(*table(codes, labels)) == pytest.approx(mutual_information(*table(labels, codes)))
    codes, labels = world(50)
    plain = mutual_information(*table(codes, labels))
    assert mutual_information(*table(np.random.default_rng(1).permutation(50)[codes], labels)) == pytest.approx(plain)
    assert mutual_information(*table(codes * 7 + 3, labels)) == pytest.approx(plain)
    assert mutual_information(*table(codes % 16, labels)) <= plain + 1e-12  # hashing never raises it


def test_a_field_knows_itself_and_a_constant_nothing():
    labels = world(2)[1]
    assert mutual_information(*table(labels, labels)) == pytest.approx(entropy(np.bincount(labels)))
    assert mutual_information(*table(np.zeros_like(labels), labels)) == pytest.approx(0.0, abs=1e-12)
    assert NullOfLabel(len(labels), int(labels.sum())).of(np.array([len(labels)])).mean == 0.0


@pytest.mark.parametrize(("size", "rows"), [(2, 50), (40, 1_000), (3_000, 4_000), (100, 20_000)])
def test_the_mean_of_chance_equals_scikit_learn(size, rows):
    codes, labels = world(size, rows)
    null = NullOfLabel(rows, int(labels.sum())).of(table(codes, labels)[0])
    sparse = contingency_matrix(codes, labels, sparse=True).astype(np.int64)
    assert null.mean == pytest.approx(expected_mutual_information(sparse, rows), abs=1e-11)


@pytest.mark.parametrize("size", [2, 30, 400])
def test_mean_and_spread_of_chance_are_those_of_permutations(size):
    codes, labels = world(size, 500)
    rows = table(codes, labels)[0]
    null, random = NullOfLabel(500, int(labels.sum())).of(rows), np.random.default_rng(1)
    drawn = [mutual_information(*table(codes, random.permutation(labels))) for _ in range(2_000)]
    assert abs(np.mean(drawn) - null.mean) < 3 * np.std(drawn) / math.sqrt(2_000)
    assert math.sqrt(null.variance) == pytest.approx(np.std(drawn), rel=0.12)


def test_every_row_its_own_value_is_known_to_say_nothing():
    null = NullOfLabel(1_000, 200).of(np.ones(1_000, np.int64))
    assert null.mean == pytest.approx(entropy(np.array([200, 800])))
    assert null.variance == pytest.approx(0.0, abs=1e-15)
    assert null.deviate(null.mean) == 0.0


def test_noise_of_any_number_of_values_scores_within_four_deviations_of_zero_without_trend():
    random = np.random.default_rng(2)
    labels = (random.random(4_000) < 0.2).astype(np.int64)
    null_of = NullOfLabel(4_000, int(labels.sum()))
    deviates = []
    for size in (2, 5, 20, 100, 500, 2_000, 3_999, 4_000):
        for _ in range(20):
            rows, clicks = table(random.integers(0, size, 4_000), labels)
            null, plain = null_of.of(rows), mutual_information(rows, clicks)
            if size >= 100:  # with fewer values chance is skewed, as chi-squared is; z knows that
                assert abs(plain - null.mean) <= 4 * math.sqrt(null.variance) + 1e-12
            deviates.append((math.log(size), null.deviate(plain)))
    size, z = np.array(deviates).T
    assert abs(z.mean()) < 4 / math.sqrt(len(z)) and z.std() == pytest.approx(1.0, abs=0.2) and abs(z).max() < 4
    assert abs(np.corrcoef(size, z)[0, 1]) < 3 / math.sqrt(len(z))


@pytest.mark.parametrize(
    ("rows", "clicks", "size"), [(20_000, 400, 20), (3_000, 30, 1_500), (500, 499, 3), (50, 9, 30)]
)
def test_the_deviate_of_a_field_of_two_values_is_the_exact_one(rows, clicks, size):
    table_of = np.array([size, rows - size])
    null = NullOfLabel(rows, clicks).of(table_of)
    law = hypergeom(rows, clicks, size)
    support = np.arange(max(0, size + clicks - rows), min(size, clicks) + 1)
    said = np.array([mutual_information(table_of, np.array([h, clicks - h])) for h in support])
    for h, information in zip(support[:: max(1, len(support) // 40)], said[:: max(1, len(support) // 40)], strict=True):
        chance = law.pmf(support[said >= information * (1 - 1e-12)]).sum()
        if 1e-200 < chance < 1 - 1e-6:
            assert null.deviate(information) == pytest.approx(norm.isf(chance), abs=1e-5), h
    assert null.deviate(null.at(2.0)) >= 2.0 and null.at(2.0) > null.mean


def test_far_out_the_deviate_goes_on_rising():
    null, rows = NullOfLabel(10**7, 10**5).of(np.array([10**6, 9 * 10**6])), np.array([10**6, 9 * 10**6])
    z = [null.deviate(mutual_information(rows, np.array([h, 10**5 - h]))) for h in range(10_000, 100_000, 1_000)]
    assert (np.diff(z) > 0).all() and 391 < z[50] < 392 and np.isfinite(z).all()


@pytest.mark.parametrize("rare", [2, 5, 100])
def test_noise_of_rare_values_at_a_low_click_rate_is_seldom_sure(rare):
    rows = np.array([20] * rare + [20_000 - 20 * rare])
    null, draws = NullOfLabel(20_000, 400).of(rows), 4_000
    drawn = np.random.default_rng(rare).multivariate_hypergeometric(rows, 400, draws, method="marginals")
    z = np.array([null.deviate(mutual_information(rows, clicks)) for clicks in drawn])
    assert (z > 3).mean() < 0.003  # one in 740; with the gamma distribution of the mean and the variance .006 to .013


def test_the_best_of_many_rare_values_is_worth_nothing_on_average():
    random, tried, size = np.random.default_rng(3), 500, 20
    null, rows = NullOfLabel(20_000, 100).of(np.array([size, 20_000 - size])), np.array([size, 20_000 - size])
    view = View("tags", "one value", 2, lambda rows, first: rows.ids[:, 0])
    found = []
    for _ in range(60):
        most = random.hypergeometric(100, 19_900, size, tried).max()
        clicks = np.array([most, 100 - most])
        found.append(Seen(view, (rows, clicks), mutual_information(rows, clicks), null, tried).information)
    spread = math.sqrt(null.variance)
    assert abs(np.mean(found)) < spread  # by normal deviations it was 3.4 of them


@pytest.mark.parametrize("values", [3, 4, 5, 8, 40])
def test_of_many_rows_a_value_the_deviate_is_that_of_chi_squared(values):
    rows = np.full(values, 120_000 // values)
    null = NullOfLabel(int(rows.sum()), 24_000).of(rows)
    for chance in (0.2, 1e-3, 1e-9):
        information = chi2.isf(chance, values - 1) / (2 * rows.sum())
        assert null.deviate(information) == pytest.approx(norm.isf(chance), abs=0.03)


@pytest.mark.parametrize("shape", [0.5, 1.0, 5.0, 2_000.0])
def test_deviates_are_those_of_the_tail(shape):
    null = Null(shape, shape)
    for chance in (0.3, 0.01, 1e-6, 1e-30):
        assert null.deviate(gamma.isf(chance, shape)) == pytest.approx(norm.isf(chance), abs=0.025)
    assert null.deviate(shape * (1 + 1e-4 * 0.999)) == pytest.approx(null.deviate(shape * (1 + 1e-4 * 1.001)), abs=1e-4)
    assert Null(0.0, 0.0).deviate(1.0) == 0.0
