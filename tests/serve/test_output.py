"""Logits become probabilities: sampling offset, calibration, sigmoid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clicksmith.errors import DataError
from clicksmith.serve.output import Calibration, OutputMap, fit_calibration, offset_of, sigmoid


@given(st.floats(-500, 500))
def test_sigmoid_equals_the_definition_without_overflow(x):
    with np.errstate(all="raise", under="ignore"):
        value = float(sigmoid(np.array([x]))[0])
    assert value == pytest.approx(1 / (1 + math.exp(-x)) if x > -300 else math.exp(x), rel=1e-12)


@given(st.floats(0.001, 0.999), st.floats(0.01, 1.0))
def test_the_offset_undoes_negative_down_sampling(p, rate):
    sampled = p / (p + rate * (1 - p))  # the share of clicks after keeping `rate` of the negatives
    logit = math.log(sampled / (1 - sampled))
    shown = OutputMap(offset=offset_of(rate)).probabilities(np.array([[logit]], np.float32))
    assert shown[0, 0] == pytest.approx(p, rel=1e-4)


def test_calibration_recovers_a_planted_map():
    random = np.random.default_rng(0)
    true = random.normal(-1, 1.5, 200_000)
    labels = (random.random(true.size) < sigmoid(true)).astype(np.float32)
    shown = (true - 0.5) * 2  # an overconfident model: true = shown / 2 + 0.5
    found = fit_calibration(labels, shown)
    assert found.slope == pytest.approx(0.5, abs=0.01)
    assert found.shift == pytest.approx(0.5, abs=0.03)


def test_calibration_of_separable_rows_stays_finite():
    found = fit_calibration(np.array([0, 0, 1, 1.0]), np.array([-3, -2, 2, 3.0]))
    assert np.isfinite([found.slope, found.shift]).all()


def test_calibration_of_one_class_is_refused():
    with pytest.raises(DataError, match=r"^calibration needs rows of both classes; the validation rows hold one only\.$"):
        fit_calibration(np.zeros(4), np.zeros(4))


def test_each_output_has_its_own_calibration():
    shown = OutputMap(calibrations=(Calibration(1.0, 0.0), Calibration(2.0, 1.0))).logits(np.array([[1, 1]], np.float32))
    np.testing.assert_allclose(shown, [[1.0, 3.0]])
