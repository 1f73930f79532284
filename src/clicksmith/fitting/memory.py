"""Training in memory, without a run folder: what the scikit-learn estimator needs."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.store import Store
from clicksmith.fitting.asked import new_model, settings_for, spec_for, undo_weights
from clicksmith.models.spec import ModelSpec
from clicksmith.schema import Schema
from clicksmith.serve.artifact import Artifact
from clicksmith.serve.predictor import Predictor
from clicksmith.train.trainer import train


def fit_frame(
    frame: pl.DataFrame,
    *,
    schema: Schema,
    model: str | ModelSpec,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
) -> Predictor:
    """Train on all rows of a frame for a fixed number of epochs and return the predictor."""
    encoder = Encoder.fit(schema, frame)
    store = Store.of(encoder.encode(frame, labels=True), encoder.layout)
    spec = spec_for(model, options, schema)
    built = new_model(spec, encoder.layout, seed)
    offset = train(
        built, store, None, settings_for(settings, frame.height, spec, epochs=epochs, seed=seed)
    ).logit_offset
    calibrator = undo_weights(offset)
    return Predictor(Artifact(spec=spec, model=built.eval(), encoder=encoder, schema=schema, calibrator=calibrator))
