"""`CTRClassifier` keeps scikit-learn's contract."""

import pickle

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from clicks import clicks
from clicksmith.estimator import EXPECTED_FAILED_CHECKS, CTRClassifier
from clicksmith.serve.predictor import Predictor

SMALL = {"model": "dnn", "options": {"dim": 4, "units": (16,)}, "settings": {"learning_rate": 0.02, "batch_size": 32}}


@parametrize_with_checks(
    [CTRClassifier(**SMALL, epochs=15)], expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_it_learns_from_frames_of_words_and_numbers(kind):
    frame = clicks(600)
    rows = frame.drop("click") if kind == "polars" else frame.drop("click").to_pandas()
    model = CTRClassifier(**SMALL, epochs=10, random_state=0).fit(rows, frame["click"].to_numpy())
    assert model.n_features_in_ == 5
    assert list(model.feature_names_in_) == ["user", "ad", "device", "price", "seen_ads"]
    assert model.score(rows, frame["click"].to_numpy()) > 0.65


def test_classes_may_be_words():
    frame = clicks(200)
    words = np.where(frame["click"].to_numpy() == 1, "yes", "no")
    model = CTRClassifier(**SMALL, epochs=3, random_state=0).fit(frame.drop("click"), words)
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.predict(frame.drop("click"))) <= {"no", "yes"}


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_it_works_in_a_pipeline_a_grid_search_and_cross_validation(kind):
    frame = clicks(240)
    rows = frame.drop("click") if kind == "polars" else frame.drop("click").to_pandas()
    labels = frame["click"] if kind == "polars" else frame["click"].to_pandas()
    model = CTRClassifier(**SMALL, epochs=2, random_state=0)
    piped = Pipeline([("same", FunctionTransformer()), ("model", model)])
    assert piped.fit(rows, labels).predict_proba(rows).shape == (240, 2)
    search = GridSearchCV(model, {"epochs": [1, 2]}, cv=2, scoring="roc_auc").fit(rows, labels)
    assert search.best_params_["epochs"] in (1, 2)
    scores = cross_val_score(model, rows, labels, cv=2, scoring="neg_log_loss")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("setting", [{"negative_rate": 0.2}, {"pos_weight": 3.0}])
def test_dropped_negatives_and_class_weights_are_undone_in_probabilities(setting):
    frame = clicks(3000)
    settings = {**setting, "learning_rate": 0.05, "table_l2": 0.0}
    model = CTRClassifier("lr", settings=settings, epochs=6, random_state=0)
    model.fit(frame.drop("click"), frame["click"].to_numpy())
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    new = clicks(3000, seed=1)
    for fitted in (model, again):
        expected = fitted.predict_proba(new.drop("click"))[:, 1].mean()
        assert expected / new["click"].mean() == pytest.approx(1.0, abs=0.1)


def test_pickling_keeps_the_scores_and_runs_no_code_of_the_model():
    frame = clicks(100)
    model = CTRClassifier(**SMALL, epochs=1, random_state=0).fit(frame.drop("click"), frame["click"].to_numpy())
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    assert isinstance(again.predictor_, Predictor)
    rows = frame.drop("click")
    np.testing.assert_array_equal(model.predict_proba(rows), again.predict_proba(rows))


def test_arguments_are_stored_untouched_and_cloned():
    options = {"dim": 4}
    model = CTRClassifier("fm", options=options, epochs=3)
    assert model.options is options
    assert clone(model).get_params() == model.get_params()


def test_more_than_two_classes_are_refused():
    with pytest.raises(ValueError, match=r"^Only binary classification is supported\. The type of the target is mult"):
        CTRClassifier().fit(np.zeros((3, 1)), [0, 1, 2])


def test_before_fit_there_is_an_error():
    with pytest.raises(NotFittedError):
        CTRClassifier().predict(np.zeros((1, 1)))


def test_unseen_values_score():
    frame = clicks(100)
    model = CTRClassifier(**SMALL, epochs=1, random_state=0).fit(frame.drop("click"), frame["click"].to_numpy())
    strange = frame.drop("click").with_columns(user=pl.lit("new"), ad=pl.lit("new"))
    assert np.isfinite(model.predict_proba(strange)).all()
