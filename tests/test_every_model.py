"""Every registered model passes every generated check."""

import pytest

from clicksmith.models import MODELS
from clicksmith.testing.checks import CHECKS, SLOW_CHECKS, name_of
from clicksmith.testing.subject import Subject


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("name", MODELS)
def test_model(name, check):
    check(Subject(MODELS[name], MODELS[name]()))


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW_CHECKS, ids=name_of)
@pytest.mark.parametrize("name", MODELS)
def test_model_slowly(name, check):
    check(Subject(MODELS[name], MODELS[name]()))
