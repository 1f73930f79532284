"""What FuxiCTR reaches, and what it costs, on Frappe_x1 with the rebuilt train file and BARS' tuned settings.

    python benchmarks/frappe_fuxictr.py --peers FOLDER --zoo MODEL_ZOO --peer-python FUXI/bin/python --data FOLDER

Its own `fit`: early stopping on validation AUC, best weights restored, test once. A process and one thread per run.
Result: benchmarks/results/frappe_fuxictr.json, a run appended as it ends; runs that are there are not run again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEEP = {"net_dropout": 0.2, "batch_norm": True, "embedding_regularizer": 0.05}
# model of BARS' table: (FuxiCTR's file, its options, most epochs)
MODELS: dict[str, tuple[str, dict[str, Any], int]] = {
    "HOFM": ("HOFM/src/HOFM.py", {"order": 3, "reuse_embedding": False, "regularizer": 1e-6}, 200),
    "CrossNet": (
        "DCN/DCN_torch/src/DCN.py",
        {"num_cross_layers": 6, "dnn_hidden_units": [], "embedding_regularizer": 1e-4},
        100,
    ),
    "CrossNet-V2": (
        "DCNv2/src/DCNv2.py",
        {"model_structure": "crossnet_only", "num_cross_layers": 4, "embedding_regularizer": 1e-3},
        100,
    ),
    "FwFM": ("FwFM/src/FwFM.py", {"linear_type": "FeLV", "regularizer": 5e-6}, 100),
    "AFM": (
        "AFM/src/AFM.py",
        {"attention_dim": 128, "attention_dropout": [0.1, 0.1], "embedding_regularizer": 1e-5},
        100,
    ),
    "NFM": ("NFM/src/NFM.py", {"hidden_units": [400] * 3, "net_dropout": 0.4, "embedding_regularizer": 1e-4}, 200),
    "SAM": (
        "SAM/src/SAM.py",
        {"interaction_type": "SAM3A", "aggregation": "concat", "num_interaction_layers": 4, "use_residual": True}
        | {"net_dropout": 0.2, "embedding_regularizer": 0.05},
        100,
    ),
    "FiGNN": (
        "FiGNN/src/FiGNN.py",
        {"gnn_layers": 17, "use_gru": False, "use_residual": True, "reuse_graph_layer": False}
        | {"embedding_regularizer": 1e-3},
        100,
    ),
    "AutoInt": (
        "AutoInt/src/AutoInt.py",
        {"attention_layers": 6, "attention_dim": 128, "num_heads": 4, "dnn_hidden_units": [], "use_residual": True}
        | {"use_scale": False, "layer_norm": False, "use_wide": False, "embedding_regularizer": 0.05},
        100,
    ),
    "DESTINE": (
        "DESTINE/src/DESTINE.py",
        {"attention_layers": 4, "attention_dim": 128, "num_heads": 1, "att_dropout": 0, "use_scale": True}
        | {"relu_before_att": False, "residual_mode": "each_layer", "use_wide": False}
        | {"dnn_hidden_units": [400] * 3, **DEEP},
        100,
    ),
    "AFN": (
        "AFN/src/AFN.py",
        {"ensemble_dnn": False, "logarithmic_neurons": 1000, "afn_hidden_units": [400], "afn_dropout": 0.4}
        | {"batch_norm": False, "embedding_regularizer": 1e-3},
        100,
    ),
    "AFN+": (
        "AFN/src/AFN.py",
        {"ensemble_dnn": True, "logarithmic_neurons": 1000, "afn_hidden_units": [400], "afn_dropout": 0.4}
        | {"dnn_hidden_units": [400] * 3, "dnn_dropout": 0.2, "batch_norm": False, "embedding_regularizer": 1e-3},
        100,
    ),
    "FiBiNET": (
        "FiBiNET/src/FiBiNET.py",
        {"hidden_units": [400] * 3, "bilinear_type": "field_all", "reduction_ratio": 2, **DEEP, "net_dropout": 0.3},
        100,
    ),
    "DNN": ("DNN/DNN_torch/src/DNN.py", {"hidden_units": [400] * 3, **DEEP}, 100),
    "DCNv2": (
        "DCNv2/src/DCNv2.py",
        {"parallel_dnn_hidden_units": [400] * 3, "num_cross_layers": 4, **DEEP, "net_dropout": 0.4},
        100,
    ),
    "FinalMLP": (
        "FinalMLP/src/FinalMLP.py",
        {"mlp1_hidden_units": [400], "mlp2_hidden_units": [100], "mlp1_dropout": 0.4, "mlp2_dropout": 0.4}
        | {"mlp1_batch_norm": True, "mlp2_batch_norm": True, "use_fs": True, "fs_hidden_units": [400]}
        | {"fs1_context": ["user"], "fs2_context": ["item"], "num_heads": 5, "embedding_regularizer": 0.05},
        100,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "frappe_fuxictr.json")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "SEED"), help="run one and print it (used by the run)")
    asked = parser.parse_args()
    if asked.one:
        print("@@" + json.dumps(trial(asked.one[0], int(asked.one[1]))), flush=True)
        os._exit(0)  # FuxiCTR's import of ray leaves threads behind
    from machine import command, machine  # type: ignore[import-not-found]

    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {"runs": {}}
    for seed in range(1, asked.seeds + 1):
        for model in asked.models:
            if f"{model}/{seed}" in found["runs"]:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                environment = {
                    **os.environ, "OMP_NUM_THREADS": "1", "CTRBENCH": str(asked.peers), "FUXI_ZOO": str(asked.zoo),
                    "CTRBENCH_FRAPPE": str(asked.data), "CTRBENCH_DATA": scratch, "CTRBENCH_TMP": scratch,
                }  # fmt: skip
                call = [asked.peer_python, __file__, "--one", model, str(seed)]
                done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
            if not lines:
                raise SystemExit(done.stderr[-2000:])
            found["runs"][f"{model}/{seed}"] = one = json.loads(lines[-1][2:])
            print(model, seed, {key: value for key, value in one.items() if key != "valid_auc"}, flush=True)
            found |= {"command": command(), "dataset": "frappe_x1_rebuilt", "machine": machine()}
            asked.out.write_text(json.dumps(found, indent=1) + "\n")


def trial(model: str, seed: int) -> dict[str, Any]:
    """Train one model as FuxiCTR does and test it."""
    import logging

    import numpy as np
    import torch

    from fuxictr_zoo import Loader, network  # type: ignore[import-not-found]

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    from ctrbench import data as work  # type: ignore[import-not-found]
    from fuxictr.pytorch.torch_utils import seed_everything  # type: ignore[import-not-found]

    file, options, epochs = MODELS[model]
    data = work.load("frappe")
    data["dim"] = 10
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench").mkdir()  # where its checkpoints go
        seed_everything(seed)
        built = network(file, options, data, folder, seed=seed)
        loaders: dict[str, Any] = {}
        for part in ("train", "valid", "test"):
            columns = {
                name: torch.from_numpy(np.ascontiguousarray(data[part]["cat"][:, i]))
                for i, name in enumerate(data.cat_names)
            }
            columns["label"] = torch.from_numpy(data[part]["y"])
            loaders[part] = Loader(columns, 4096, part == "train")
        curve: list[float] = []
        evaluate = built.evaluate

        def noted(loader: Any, metrics: Any = None) -> Any:
            measured = evaluate(loader, metrics=metrics)
            curve.append(round(float(measured["AUC"]), 6))
            return measured

        built.evaluate = noted
        began, worked = time.perf_counter(), time.process_time()
        built.fit(loaders["train"], epochs=epochs, validation_data=loaders["valid"])
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        test = evaluate(loaders["test"], metrics=["AUC", "logloss"])
    return {
        "epochs": len(curve), "seconds": round(seconds, 1), "cpu_seconds": round(worked, 1),
        "test_auc": float(test["AUC"]), "test_logloss": float(test["logloss"]), "valid_auc": curve,
    }  # fmt: skip


if __name__ == "__main__":
    main()
