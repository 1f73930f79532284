"""Labelled rows scored and measured by a predictor: the one way a trained model is evaluated, in `fit` and afterwards."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.batch.store import Store
from clicksmith.encode.rows import EncodedRows
from clicksmith.errors import DataError
from clicksmith.evaluate.calibrator import Calibrator
from clicksmith.evaluate.evaluation import Metrics, evaluate
from clicksmith.evaluate.predictions import Predictions
from clicksmith.serve.predictor import ROWS, Predictor


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions of labelled rows, before calibration, and the metrics after it."""

    predictions: Predictions
    metrics: dict[str, Metrics]
    """By output."""

    def flat(self) -> dict[str, Any]:
        """Return metric name -> value; further outputs of a model stand under their names."""
        first, *rest = self.metrics.items()
        return {**first[1].flat, "rows": first[1].rows, "clicks": first[1].clicks, **{n: m.flat for n, m in rest}}


def pieces_of(store: Store) -> Iterator[EncodedRows]:
    """Give the rows of a store in pieces of the size that `Predictor` scores at once."""
    for start in range(0, store.rows, ROWS):
        yield store.slice(start, min(start + ROWS, store.rows))


def predictions_of(predictor: Predictor, pieces: Iterable[EncodedRows], origin: dict[str, str] | None = None) -> Predictions:
    """Score labelled rows; logits are the model's own. Raises DataError if there is no row."""
    logits: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.float32]] = []
    groups: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    for piece in pieces:
        logits.append(predictor.logits(piece))
        labels.append(np.asarray(piece.labels))
        if piece.group is not None:
            groups.append(np.asarray(piece.group))
        if piece.weight is not None:
            weights.append(np.asarray(piece.weight))
    if not logits:
        raise DataError("there is no row to evaluate; give a file with at least one row.")
    return Predictions(
        logits=np.concatenate(logits),
        labels=np.concatenate(labels),
        groups=np.concatenate(groups) if groups else None,
        weights=np.concatenate(weights) if weights else None,
        outputs=tuple(task.name for task in predictor.artifact.spec.tasks),
        origin=origin or {},
    )


def measure(predictions: Predictions, calibrator: Calibrator, *, resamples: int = 0) -> dict[str, Metrics]:
    """Return the metrics of every output, after calibration, with intervals."""
    found: dict[str, Metrics] = {}
    for output in predictions.outputs:
        rows = predictions.scored(output)
        found[output] = evaluate(
            rows.labels,
            logits=calibrator.apply(rows.scores),
            groups=rows.groups,
            weights=rows.weights,
            resamples=resamples,
        )
    return found


def measured(predictor: Predictor, pieces: Iterable[EncodedRows], origin: dict[str, str] | None = None) -> Measured:
    """Score labelled rows and measure them."""
    predictions = predictions_of(predictor, pieces, origin)
    return Measured(predictions, measure(predictions, predictor.artifact.calibrator))
