"""Calibrators: against scikit-learn, and on predictions whose distortion is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.evaluate.auc import auc
from clicksmith.evaluate.calibration import expected_calibration_error, ratio_influence
from clicksmith.evaluate.calibrator import (
    Calibrator,
    Platt,
    Shift,
    fit_calibrator,
    fit_isotonic,
    fit_platt,
    negative_sampling,
    pool_adjacent_violators,
)
from clicksmith.evaluate.logloss import logloss
from clicksmith.evaluate.scored import scored, sigmoid


def distorted(n: int = 20_000, slope: float = 2.0, shift: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits that are `slope * true + shift`."""
    random = np.random.default_rng(seed)
    true = random.normal(-2, 1, n)
    return random.random(n) < 1 / (1 + np.exp(-true)), slope * true + shift


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 3)), min_size=2, max_size=40))
@settings(max_examples=80, deadline=None)
def test_pooled_blocks_equal_scikit_learns_isotonic_regression(drawn: list[tuple[int, bool, int]]) -> None:
    drawn += [(0, True, 1), (6, False, 1)]
    x, y, w = (np.array(column, np.float64) for column in zip(*drawn, strict=True))
    expected = IsotonicRegression().fit(x, y, w)
    fitted = fit_isotonic(scored(y, logits=x, weights=w))
    at = np.linspace(0, 6, 61)
    np.testing.assert_allclose(np.interp(at, fitted.points, fitted.values), expected.predict(at), atol=1e-9)


def test_pooling_needs_no_pass_per_row() -> None:
    start, mean = pool_adjacent_violators(np.ones(5), np.array([5.0, 4.0, 3.0, 2.0, 9.0]))
    assert start.tolist() == [0, 4] and mean.tolist() == [3.5, 9.0]


def test_platt_equals_an_unpenalised_logistic_regression() -> None:
    labels, logits = distorted()
    fitted = fit_platt(scored(labels, logits=logits))
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], labels)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], abs=2e-3)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_distorted_model_becomes_calibrated_on_new_rows(method: str) -> None:
    labels, logits = distorted(seed=1)
    calibrator = fit_calibrator(scored(labels, logits=logits), method)  # type: ignore[arg-type]
    labels, logits = distorted(seed=2)
    before, after = scored(labels, logits=logits), scored(labels, logits=calibrator.apply(logits))
    assert expected_calibration_error(before) > 0.05 > 0.015 > expected_calibration_error(after)
    assert ratio_influence(after).value == pytest.approx(1, abs=0.05)
    assert auc(labels, calibrator.apply(logits)) == pytest.approx(auc(labels, logits), abs=0.002)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1e6])
def test_the_unit_of_weights_is_nothing(method: str, unit: float) -> None:
    labels, logits = distorted(2000)
    weights = np.random.default_rng(3).uniform(0.5, 2, 2000)
    one, other = (
        fit_calibrator(scored(labels, logits=logits, weights=w), method)  # type: ignore[arg-type]
        for w in (weights, weights * unit)
    )
    np.testing.assert_allclose(other.apply(logits), one.apply(logits), atol=1e-6)
    same = fit_calibrator(scored(labels, logits=logits, weights=np.full(2000, unit)), method)  # type: ignore[arg-type]
    none = fit_calibrator(scored(labels, logits=logits), method)  # type: ignore[arg-type]
    np.testing.assert_allclose(same.apply(logits), none.apply(logits), atol=1e-6)


@pytest.mark.parametrize("outlier", [-1e8, -1e30])
@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_one_diverged_prediction_among_many_moves_nothing(outlier: float, method: str) -> None:
    labels, logits = distorted()
    alone = fit_calibrator(scored(labels, logits=logits), method)  # type: ignore[arg-type]
    rows = scored(np.append(labels, False), logits=np.append(logits, outlier))
    np.testing.assert_allclose(fit_calibrator(rows, method).apply(logits), alone.apply(logits), atol=0.02)  # type: ignore[arg-type]
    wrong = scored(rows.labels, logits=np.append(logits, -outlier))  # a non-click, and as sure to be a click
    np.testing.assert_allclose(fit_calibrator(wrong, method).apply(logits), alone.apply(logits), atol=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("unit", "distance"), [(1e-5, -5.0), (1.0, -1e6), (1e4, 1e9)])
def test_neither_unit_nor_distance_of_the_logits_matters_to_platt(unit: float, distance: float) -> None:
    labels, logits = distorted(3000)
    for sign in (1, -1):  # falling predictions are held flat, around the right mean
        near, far = sign * logits, unit * sign * logits + distance
        one, other = fit_platt(scored(labels, logits=near)), fit_platt(scored(labels, logits=far))
        assert one.held == other.held == (sign < 0)
        if sign > 0:
            np.testing.assert_allclose(other.apply(far), one.apply(near), atol=1e-4)
        assert sigmoid(other.apply(far)).mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_a_spread_of_few_among_equal_logits_is_kept() -> None:
    labels, logits = distorted(3000)
    mostly_equal = np.where(np.arange(3000) % 10, -2.0, logits)
    noisy = mostly_equal + 1e-9 * np.arange(3000)
    one, other = (fit_platt(scored(labels, logits=x)) for x in (mostly_equal, noisy))
    assert other.slope == pytest.approx(one.slope, rel=1e-4) and one.slope > 0.1


@pytest.mark.parametrize("noise", [0.01, 0.001, 0.0])
def test_a_calibrated_model_of_one_rare_strong_feature_stays_calibrated(noise: float) -> None:
    random = np.random.default_rng(0)
    logits = -3 + noise * random.normal(size=60_000) + 4 * (random.random(60_000) < 0.008)
    found = fit_platt(scored(random.random(60_000) < 1 / (1 + np.exp(-logits)), logits=logits))
    assert found.slope == pytest.approx(1, abs=0.1) and found.intercept == pytest.approx(0, abs=0.3)


def test_temperature_has_no_intercept_and_finds_the_scale() -> None:
    labels, logits = distorted(slope=3.0, shift=0.0)
    step = fit_calibrator(scored(labels, logits=logits), "temperature").steps[0]
    assert isinstance(step, Platt) and step.intercept == 0.0
    assert step.slope == pytest.approx(1 / 3, rel=0.05)


def test_separable_rows_leave_the_fit_finite() -> None:
    rows = scored([0, 0, 1, 1], logits=[-2.0, -1.0, 1.0, 2.0])
    for method in ("platt", "temperature", "isotonic"):
        assert np.isfinite(fit_calibrator(rows, method).apply([-50.0, 0.0, 50.0])).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_predictions_that_fall_with_clicks_keep_their_order_and_get_the_right_mean(scale: float) -> None:
    labels, logits = distorted(2000)
    wrong = -scale * logits
    fitted = fit_platt(scored(labels, logits=wrong))
    assert fitted.held and fitted.slope > 0
    assert sigmoid(fitted.apply(wrong)).mean() == pytest.approx(labels.mean(), abs=1 / 2000)
    assert np.std(fitted.apply(wrong)) <= 0.011
    assert auc(labels, fitted.apply(wrong)) == pytest.approx(auc(labels, wrong), abs=1e-12)
    share = logloss(labels, probabilities=np.full(2000, labels.mean()))
    assert logloss(labels, logits=fitted.apply(wrong)) == pytest.approx(share, rel=0.01)
    assert logloss(labels, logits=wrong) > 1.2 * share


def test_a_rising_slope_is_not_held_however_small_it_is() -> None:
    labels, logits = distorted(2000)
    fitted = fit_platt(scored(labels, logits=1e6 * logits))
    assert not fitted.held and fitted.slope == pytest.approx(fit_platt(scored(labels, logits=logits)).slope / 1e6)


def test_no_temperature_mends_predictions_that_fall_with_clicks() -> None:
    labels, logits = distorted(2000)
    with pytest.raises(
        DataError, match=r"^the fitted slope is -0\.\d+: no temperature mends .* these 2000 rows\..*'platt'"
    ):
        fit_calibrator(scored(labels, logits=-logits), "temperature")


def test_dropped_negatives_are_corrected_exactly() -> None:
    true, rate = np.array([-3.0, 0.0, 2.0]), 0.1
    p = 1 / (1 + np.exp(-true))
    trained_on_sample = np.log(p / (rate * (1 - p)))
    np.testing.assert_allclose(negative_sampling(rate).apply(trained_on_sample), true, atol=1e-12)
    q = 1 / (1 + np.exp(-trained_on_sample))
    np.testing.assert_allclose(
        Calibrator((negative_sampling(rate),)).probabilities(trained_on_sample), q / (q + (1 - q) / rate)
    )
    with pytest.raises(UsageError, match=r"^rate=1.5: "):
        negative_sampling(1.5)
    with pytest.raises(UsageError, match=r"^rate=0: the share of non-clicks kept lies above 0 and is at most 1.$"):
        negative_sampling(0)


def test_a_calibrator_survives_json_and_runs_its_steps_in_order() -> None:
    labels, logits = distorted(3000)
    for method in ("platt", "isotonic"):
        calibrator = Calibrator((Shift(0.5),)).then(fit_calibrator(scored(labels, logits=logits), method).steps[0])
        back = Calibrator.from_json(calibrator.to_json())
        assert back == calibrator
        np.testing.assert_array_equal(back.apply(logits), calibrator.steps[1].apply(logits + 0.5))
    with pytest.raises(ArtifactError, match=r"^the calibrator cannot be read: .*; fit it again.$"):
        Calibrator.from_json(b'{"steps": [{"kind": "run_me"}]}')


def test_isotonic_is_bounded_and_rises() -> None:
    labels, logits = distorted(3000)
    out = fit_calibrator(scored(labels, logits=logits), "isotonic").apply(np.linspace(-100, 100, 999))
    assert np.isfinite(out).all() and (np.diff(out) >= 0).all()


def test_one_class_cannot_be_calibrated_and_a_wrong_method_is_named() -> None:
    with pytest.raises(DataError, match=r"all 2 labels are 0; 'calibration' needs rows of both classes"):
        fit_calibrator(scored([0, 0], logits=[0.0, 1.0]))
    with pytest.raises(UsageError, match=r"^no calibration method 'beta'; choose platt, temperature or isotonic.$"):
        fit_calibrator(scored([0, 1], logits=[0.0, 1.0]), "beta")  # type: ignore[arg-type]


def test_platt_solves_its_own_equations() -> None:
    labels, logits = distorted(50)
    fitted = fit_platt(scored(labels, logits=logits))
    up, down = labels.sum(), (~labels).sum()
    target = np.where(labels, (up + 1) / (up + 2), 1 / (down + 2))
    left = sigmoid(fitted.apply(logits)) - target
    np.testing.assert_allclose([left.sum(), left @ logits], 0, atol=1e-4)


def test_the_bounds_of_isotonic_leave_room_for_one_more_row() -> None:
    fitted = fit_isotonic(scored([0, 0, 1, 1], logits=[-2.0, -1.0, 1.0, 2.0]))
    np.testing.assert_allclose(sigmoid(fitted.apply([-9.0, 9.0])), [1 / 6, 5 / 6])
