"""Labelled rows scored and measured by a predictor: the one way a trained model is evaluated, in `fit` and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from clicksmith.encode.frames import stacked
from clicksmith.encode.store import Store
from clicksmith.encode.texts import shown
from clicksmith.errors import DataError
from clicksmith.evaluate.calibrator import Calibrator
from clicksmith.evaluate.evaluation import Metrics, evaluate
from clicksmith.evaluate.metrics import METRICS
from clicksmith.evaluate.predictions import Predictions
from clicksmith.names import unknown
from clicksmith.serve.predictor import Predictor, Raw

FIGURES = frozenset({*METRICS, "rows", "clicks", "intervals", "slices", "notes", "outputs"})
"""What `plain` says of an output; no other output is put under such a name."""


def predictions_of(predictor: Predictor, store: Store, origin: dict[str, str] | None = None) -> Predictions:
    """Score the labelled rows of a store; the logits are the model's own, before calibration."""
    targets = store.targets
    return Predictions(
        logits=predictor.logits_of(store),
        labels=np.asarray(targets["labels"]),
        groups=targets.get("group"),
        weights=targets.get("weight"),
        outputs=tuple(task.name for task in predictor.artifact.spec.tasks),
        origin=origin or {},
    )


def measure(
    predictions: Predictions,
    calibrator: Calibrator,
    *,
    slices: dict[str, ArrayLike] | None = None,
    level: float = 0.95,
) -> dict[str, Metrics]:
    """Return the metrics of every output after calibration, with intervals."""
    found: dict[str, Metrics] = {}
    for output in predictions.outputs:
        rows = predictions.scored(output)
        found[output] = evaluate(
            rows.labels,
            logits=calibrator.apply(rows.scores),
            groups=rows.groups,
            weights=rows.weights,
            slices=slices,
            level=level,
        )
    return found


def evaluate_rows(
    predictor: Predictor, rows: Raw, *, by: Sequence[str] = (), level: float = 0.95
) -> dict[str, Metrics]:
    """Measure a trained model on labelled raw rows, also for each value of the columns `by`."""
    source = predictor.open(rows)
    by = list(dict.fromkeys(by))
    for name in by:
        if name not in source.columns:
            raise DataError(f"{source.name}: {unknown(name, source.columns, 'column')}")
    slices: dict[str, ArrayLike] = {}
    if by:
        whole = stacked(list(source.batches(by)))
        for name in by:
            if whole[name].dtype.is_nested():
                raise DataError(
                    f"{source.name}: column '{name}' holds {whole[name].dtype}, which is not one value a row; "
                    "measure by another column."
                )
        slices = {name: shown(whole[name]).cast(pl.String).fill_null("").to_numpy() for name in by}
    with predictor.encoded(source, labels=True) as store:
        predictions = predictions_of(predictor, store)
    return measure(predictions, predictor.artifact.calibrator, slices=slices, level=level)


def plain(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Return `{"auc": ..., "rows": ..., "intervals": {...}}`; further outputs of a model stand under their names.

    Those whose name is that of a figure stand in `outputs`, so that nothing is lost.
    """
    (_, first), *rest = metrics.items()
    found: dict[str, Any] = {
        **first.flat,
        "rows": first.rows,
        "clicks": first.clicks,
        "intervals": {name: [e.low, e.high] for name, e in first.values.items() if e.low is not None},
    }
    if first.slices:
        found["slices"] = [
            {"column": s.column, "value": s.value, "rows": s.rows, **{n: e.value for n, e in s.values.items()}}
            for s in first.slices
        ]
    if first.notes:
        found["notes"] = list(first.notes)
    further = {name: plain({name: other}) for name, other in rest}
    within = {name: one for name, one in further.items() if name in FIGURES}
    found |= {name: one for name, one in further.items() if name not in FIGURES}
    return found | ({"outputs": within} if within else {})
