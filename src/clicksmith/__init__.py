"""Clicksmith: raw impression logs in, a trained, calibrated, served click-through-rate model out.

    schema → encode → batch → embed → sequence → fields → interact → head → loss → train → evaluate → serve

The names below are imported when they are first used, so that `import clicksmith` is quick and needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clicksmith.encode.encoder import Encoder
    from clicksmith.errors import ClicksmithError
    from clicksmith.estimator import CTRClassifier
    from clicksmith.fitting.job import fit
    from clicksmith.models import MODELS, model_spec
    from clicksmith.models.spec import CTRModel, ModelSpec
    from clicksmith.run import Run
    from clicksmith.schema import (
        Bag,
        Behaviour,
        Categorical,
        Label,
        Multimodal,
        Numeric,
        Schema,
        Side,
        SideTable,
        Time,
    )
    from clicksmith.schema.infer import infer
    from clicksmith.serve.predictor import Predictor, load
    from clicksmith.train.settings import TrainSettings
    from clicksmith.tuning.job import tune

_HOMES = {
    "Bag": "schema",
    "Behaviour": "schema",
    "Categorical": "schema",
    "Label": "schema",
    "Multimodal": "schema",
    "Numeric": "schema",
    "Schema": "schema",
    "Side": "schema",
    "SideTable": "schema",
    "Time": "schema",
    "infer": "schema.infer",
    "Encoder": "encode.encoder",
    "MODELS": "models",
    "model_spec": "models",
    "ModelSpec": "models.spec",
    "CTRModel": "models.spec",
    "TrainSettings": "train.settings",
    "Predictor": "serve.predictor",
    "load": "serve.predictor",
    "fit": "fitting.job",
    "tune": "tuning.job",
    "Run": "run",
    "CTRClassifier": "estimator",
    "ClicksmithError": "errors",
}

__all__ = [
    "MODELS",
    "Bag",
    "Behaviour",
    "CTRClassifier",
    "CTRModel",
    "Categorical",
    "ClicksmithError",
    "Encoder",
    "Label",
    "ModelSpec",
    "Multimodal",
    "Numeric",
    "Predictor",
    "Run",
    "Schema",
    "Side",
    "SideTable",
    "Time",
    "TrainSettings",
    "fit",
    "infer",
    "load",
    "model_spec",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("clicksmith")
    if name not in _HOMES:
        raise AttributeError(f"module 'clicksmith' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"clicksmith.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
