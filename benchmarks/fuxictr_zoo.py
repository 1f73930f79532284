"""FuxiCTR's models, built from its model_zoo as its own scripts do; needs its package and the peers' benchmark folder.

Environment: CTRBENCH (the peers' folder), FUXI_ZOO (FuxiCTR's model_zoo), CTRBENCH_DATA and CTRBENCH_TMP (scratch).
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ.get("CTRBENCH", ""))
from ctrbench.contenders import fuxictr_c  # type: ignore[import-not-found]

Loader = fuxictr_c.MemLoader
"""Batches held in memory: FuxiCTR's quickest way to be fed."""


def network(file: str, options: dict[str, Any], data: Any, folder: str, *, seed: int = 1) -> Any:
    """Return the model of a file of the zoo; `data` names the fields (`cat_names`, `num_names`, `vocab`, `dim`)."""
    path = Path(os.environ["FUXI_ZOO"]) / file
    found = importlib.util.spec_from_file_location("zoo_" + path.stem, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    both: dict[str, Any] = {
        "gpu": -1, "task": "binary_classification", "learning_rate": 1e-3, "embedding_dim": data["dim"],
        "optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["AUC", "logloss"], "monitor": "AUC",
        "monitor_mode": "max", "model_root": folder, "verbose": 0, "model_id": "m", "seed": seed,
        "early_stop_patience": 2,
    }  # fmt: skip
    if path.stem == "LR":
        both.pop("embedding_dim")
    built = getattr(module, path.stem)(fuxictr_c.feature_map(data, folder), **{**both, **options})
    built._verbose = 0
    return built
