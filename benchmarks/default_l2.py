"""What does the L2 of tables that `fit` starts from cost or gain, beside others?

    python benchmarks/default_l2.py --data FOLDER      # FOLDER has the data sets; half an hour of one core

Every model is fitted with `fit`'s own choice of everything else but what training is judged by: AUC minus log-loss,
`fit`'s choice when this was measured. `default` is `train/defaults.py`'s; 0.05, which BARS
tuned for deep models on Frappe, was the default for all models up to 200,000 rows before. Writes
results/default_l2.json; a set that has its rows there is not run again.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from clicksmith.datasets.load import load
from clicksmith.fitting.job import fit
from machine import command, machine

SETS = {"avazu_sample": (0, 1, 2), "criteo_sample": (0, 1, 2), "frappe_x1_rebuilt": (0,)}
"""Data sets and their seeds."""
MODELS = ("lr", "fm", "deepfm", "dcnv2")
L2 = ("default", 0.05, 0.005, 5e-4, 5e-5, 5e-6)
PATH = Path(__file__).parent / "results" / "default_l2.json"


def main() -> None:
    """Fit and test them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    told = json.loads(PATH.read_text()) if PATH.exists() else {"command": command(), "results": []}
    for name, seeds in SETS.items():
        if any(row["dataset"] == name for row in told["results"]):
            continue
        data = load(name, asked.data, fetch=False)
        parts = {part: data.frame(part) for part in ("train", "valid", "test")}
        for model in MODELS:
            for l2 in L2:
                told["results"].append({"dataset": name, "model": model, "table_l2": l2})
                told["results"][-1] |= figures([trained(data.schema, parts, model, l2, seed) for seed in seeds])
                print(told["results"][-1], flush=True)
        PATH.write_text(json.dumps(told | {"machine": machine()}, indent=1) + "\n")


def trained(schema: Any, parts: dict[str, Any], model: str, l2: Any, seed: int) -> dict[str, float]:
    """Return the test figures of a model, and the L2 it had."""
    settings = {"monitor": "auc-logloss"} | ({} if l2 == "default" else {"table_l2": l2})
    with tempfile.TemporaryDirectory() as work:
        run = fit(**parts, schema=schema, model=model, settings=settings, seed=seed, out=Path(work) / "run")
        used = json.loads((run.path / "run.json").read_text())["settings"]["table_l2"]
        return {"used": used, **{name: run.metrics["test"][name] for name in ("auc", "logloss")}}


def figures(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the means over seeds, and the AUC of each."""
    means = {name: round(sum(row[name] for row in rows) / len(rows), 5) for name in ("auc", "logloss")}
    return {"used": rows[0]["used"], **means, "aucs": [round(row["auc"], 5) for row in rows]}


if __name__ == "__main__":
    main()
