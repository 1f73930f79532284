"""`CTRClassifier`: a Clicksmith model as a scikit-learn classifier. Needs the extra `clicksmith[sklearn]`."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage] - sklearn tells estimators to use it
    check_is_fitted,
    validate_data,
)

from clicksmith.encode.frames import frame_of
from clicksmith.fitting.asked import DEFAULT_MODEL
from clicksmith.fitting.memory import fit_frame
from clicksmith.models.spec import ModelSpec
from clicksmith.schema import Label, Numeric, Schema
from clicksmith.schema.infer import infer
from clicksmith.serve.artifact import from_bytes, to_bytes
from clicksmith.serve.predictor import Predictor

LABEL, WEIGHT = "(label)", "(weight)"
"""Names of the columns that `fit` adds to a frame; no column of a user has them."""

EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a weight of 2 and a row given twice make different batches, so stochastic training ends elsewhere"
    ),
}
"""Checks of `sklearn.utils.estimator_checks` that do not apply, and why."""


class CTRClassifier(ClassifierMixin, BaseEstimator):
    """Predicts clicks from a table, in scikit-learn's way.

    Frames (pandas, polars) keep their columns' kinds: the schema is proposed from them unless given. Arrays of numbers
    are numeric columns.

    Args:
        model: name of a backbone, or a ModelSpec.
        options: of the backbone, as in `{"dim": 8}`.
        settings: of training, as in `{"learning_rate": 1e-3}`; what is not given is chosen by data size.
        schema: what the columns mean; its label is ignored.
        epochs: passes over the rows.
        random_state: makes training repeatable.

    >>> import polars as pl
    >>> rows = pl.DataFrame({"ad": ["a", "b"] * 40, "hour": list(range(80))})
    >>> clicks = [1, 0] * 40
    >>> CTRClassifier(model="lr", epochs=30, random_state=0).fit(rows, clicks).predict(rows[:2]).tolist()
    [1, 0]
    """

    def __init__(
        self,
        model: str | ModelSpec = DEFAULT_MODEL,
        *,
        options: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        epochs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.options = options
        self.settings = settings
        self.schema = schema
        self.epochs = epochs
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "CTRClassifier":
        """Train on the rows of X [rows, columns] and their classes y [rows], of which there are two."""
        frame, classes = self._checked(X, y)
        label = classes == self.classes_[1]
        schema = self.schema or _proposed(frame, label)
        columns = [pl.Series(LABEL, label.astype(np.int8))]
        if sample_weight is not None:
            columns.append(pl.Series(WEIGHT, _check_sample_weight(sample_weight, X)))
        self.schema_ = _labelled(schema, weighted=sample_weight is not None)
        self.predictor_ = fit_frame(
            frame.with_columns(columns),
            schema=self.schema_,
            model=self.model,
            options=self.options,
            settings=self.settings,
            epochs=self.epochs,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
        )
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class: [rows, 2], columns in the order of `classes_`."""
        check_is_fitted(self, "predictor_")
        clicked = self.predictor_.predict(self._frame(X, reset=False))
        return np.stack([1 - clicked, clicked], 1)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the more likely class of each row: [rows]."""
        clicked = self.predict_proba(X)[:, 1] > 0.5
        return self.classes_[clicked.astype(np.int64)]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the predictor as the bytes of its artefact, for joblib's worker processes."""
        state: dict[str, Any] = dict(cast("Any", super()).__getstate__())
        if "predictor_" in state:
            state["predictor_"] = to_bytes(state["predictor_"].artifact)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` gave."""
        if "predictor_" in state:
            state = {**state, "predictor_": Predictor(from_bytes(state["predictor_"]))}
        cast("Any", super()).__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        """Say what is accepted."""
        tags = cast("Any", super()).__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    def _checked(self, X: Any, y: ArrayLike | None) -> tuple[pl.DataFrame, NDArray[Any]]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None.")
        frame = self._frame(X, reset=True)
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[1] == 1:
            from sklearn.utils.validation import column_or_1d

            labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        kind = type_of_target(labels, input_name="y")
        self.classes_ = np.unique(labels)
        if kind != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only, {self.classes_.tolist()[0]!r}; a classifier needs two.")
        if len(labels) != frame.height:
            raise ValueError(f"X has {frame.height} rows and y has {len(labels)}; give one label per row.")
        return frame, labels

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """Return X as a frame; arrays get the columns x0, x1, ..."""
        if isinstance(X, pl.DataFrame) or hasattr(X, "iloc"):
            validate_data(self, cast("Any", X), reset=reset, skip_check_array=True)
            return frame_of(X)
        array = cast("Any", validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan"))
        names = [f"x{i}" for i in range(array.shape[1])]
        if array.dtype.kind not in "OUS":
            return pl.DataFrame({name: array[:, i].astype(np.float64) for i, name in enumerate(names)})
        return frame_of([dict(zip(names, (_scalar(x) for x in row), strict=True)) for row in array.tolist()])


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"argument must be a string or a number, not {type(value).__name__!r}: {value!r}.")


def _proposed(frame: pl.DataFrame, label: NDArray[np.bool_]) -> Schema:
    if all(name == f"x{i}" and kind.is_numeric() for i, (name, kind) in enumerate(frame.schema.items())):
        return Schema(fields=tuple(Numeric(name) for name in frame.columns), label=Label(LABEL))
    return infer(frame.with_columns(pl.Series(LABEL, label.astype(np.int8))), label=LABEL).schema


def _labelled(schema: Schema, *, weighted: bool) -> Schema:
    import msgspec

    return msgspec.structs.replace(schema, label=Label(LABEL), weight=WEIGHT if weighted else None)
