"""Training speed of every backbone beside FuxiCTR's, on Frappe's size, one after another in one run.

    python benchmarks/zoo_speed.py --peers FOLDER --zoo FUXICTR/model_zoo --peer-python FUXI/bin/python

Each measurement is a process of its own: warm-up, then windows of one epoch; the median counts. Both sides get the
same rows in memory, batch 4096, dim 10, the same layer sizes, L2 0.05 on the embeddings and two threads.
Result: benchmarks/results/zoo_speed.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEEP = {"units": (400, 400, 400), "batch_norm": True, "dropout": 0.2}
FUXI_DEEP = {"hidden_units": [400] * 3, "net_dropout": 0.2, "batch_norm": True}
FUXI_DNN = {"dnn_hidden_units": [400] * 3, "net_dropout": 0.2, "batch_norm": True}
# our name: (our options, FuxiCTR's file, FuxiCTR's options)
MODELS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "lr": ({}, "LR/src/LR.py", {}),
    "fm": ({"dim": 10}, "FM/src/FM.py", {}),
    "ffm": ({"dim": 2}, "FFM/src/FFM.py", {"embedding_dim": 2}),
    "fwfm": ({"dim": 10, "linear": "field"}, "FwFM/src/FwFM.py", {}),
    "dnn": ({"dim": 10, **DEEP}, "DNN/DNN_torch/src/DNN.py", FUXI_DEEP),
    "wide_deep": ({"dim": 10, **DEEP}, "WideDeep/WideDeep_torch/src/WideDeep.py", FUXI_DEEP),
    "deepfm": ({"dim": 10, **DEEP}, "DeepFM/DeepFM_torch/src/DeepFM.py", FUXI_DEEP),
    "nfm": ({"dim": 10, **DEEP}, "NFM/src/NFM.py", FUXI_DEEP),
    "ipnn": ({"dim": 10, **DEEP}, "PNN/src/PNN.py", FUXI_DEEP),
    "dcn": ({"dim": 10, **DEEP}, "DCN/DCN_torch/src/DCN.py", FUXI_DNN),
    "dcnv2": (
        {"dim": 10, "layers": 4, **DEEP},
        "DCNv2/src/DCNv2.py",
        {"parallel_dnn_hidden_units": [400] * 3, "net_dropout": 0.2, "batch_norm": True, "num_cross_layers": 4},
    ),
    "xdeepfm": (
        {"dim": 10, "cin_units": (64, 64), **DEEP},
        "xDeepFM/src/xDeepFM.py",
        {"cin_hidden_units": [64, 64], **FUXI_DNN},
    ),
    "autoint": (
        {"dim": 10, "layers": 3, "width": 64, "heads": 2, "variant": "official"},
        "AutoInt/src/AutoInt.py",
        {
            "attention_layers": 3,
            "attention_dim": 64,
            "num_heads": 2,
            "layer_norm": True,
            "use_scale": True,
            "dnn_hidden_units": [],
        },
    ),
    "autoint_plus": (
        {"dim": 10, "layers": 5, "width": 128, "heads": 4, "variant": "official", **DEEP},
        "AutoInt/src/AutoInt.py",
        {
            "attention_layers": 5,
            "attention_dim": 128,
            "num_heads": 4,
            "layer_norm": True,
            "use_scale": True,
            **FUXI_DNN,
        },
    ),
    "fibinet": (
        {"dim": 10, "bilinear": "pair", **DEEP},
        "FiBiNET/src/FiBiNET.py",
        {"bilinear_type": "field_interaction", **FUXI_DEEP},
    ),
    "fgcnn": (
        {"dim": 10, "channels": (14, 16), "maps": 2, "units": (400, 400, 400), "batch_norm": False},
        "FGCNN/src/FGCNN.py",
        {
            "channels": [14, 16],
            "kernel_heights": [7, 7],
            "pooling_sizes": [2, 2],
            "recombined_channels": [2, 2],
            "dnn_hidden_units": [400] * 3,
        },
    ),
    "dualmlp": (
        {"dim": 10, "units1": (400,), "units2": (800,), "dropout1": 0.2, "dropout2": 0.2},
        "FinalMLP/src/DualMLP.py",
        {"mlp1_hidden_units": [400], "mlp2_hidden_units": [800], "mlp1_dropout": 0.2, "mlp2_dropout": 0.2}
        | {"mlp1_batch_norm": True, "mlp2_batch_norm": True},
    ),
    "finalmlp": (
        {
            "dim": 10,
            "units1": (400,),
            "units2": (100,),
            "dropout1": 0.4,
            "dropout2": 0.4,
            "heads": 5,
            "gate_units": (400,),
        }
        | {"context1": ("user",), "context2": ("item",)},
        "FinalMLP/src/FinalMLP.py",
        {"mlp1_hidden_units": [400], "mlp2_hidden_units": [100], "mlp1_dropout": 0.4, "mlp2_dropout": 0.4}
        | {"mlp1_batch_norm": True, "mlp2_batch_norm": True, "use_fs": True, "fs_hidden_units": [400]}
        | {"fs1_context": ["user"], "fs2_context": ["item"], "num_heads": 5},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "zoo_speed.json")
    parser.add_argument("--one", nargs=2, metavar=("WHO", "MODEL"), help="measure one and print it (used by the run)")
    args = parser.parse_args()
    if args.one:
        who, model = args.one
        times = ours(model, args.windows) if who == "ours" else theirs(model, args.windows)
        print("@@" + json.dumps(times))
        return
    from machine import command, machine  # type: ignore[import-not-found]

    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(HERE.parent / "src"),
        "CTRBENCH": str(args.peers),
        "FUXI_ZOO": str(args.zoo),
    }
    rows: dict[str, Any] = {}
    for model in args.models:
        rates = {
            who: measure([python, __file__, "--one", who, model, "--windows", str(args.windows)], environment)
            for who, python in (("ours", sys.executable), ("fuxictr", args.peer_python))
        }
        row: dict[str, Any] = {who: statistics.median(rate) for who, rate in rates.items() if rate}
        row["windows"] = rates
        if len(rates["ours"]) and len(rates["fuxictr"]):
            row["ratio"] = row["ours"] / row["fuxictr"]
        rows[model] = row
        print(model, {k: round(v, 2) for k, v in row.items() if k != "windows"}, flush=True)
    result = {"command": command(), "unit": "rows/s", "machine": machine(), "models": rows}
    args.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(command: list[str], environment: dict[str, str]) -> list[float]:
    """Run one measurement in a process of its own and return rows/s per window; [] if it failed."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if not lines:
        print(done.stderr[-2000:], file=sys.stderr)
        return []
    return [float(rate) for rate in json.loads(lines[-1][2:])]


def ours(model: str, windows: int) -> list[float]:
    """Return rows/s of our trainer, one epoch a window, after one epoch of warm-up."""
    from clicksmith.models import model_spec
    from workloads import epochs_per_second, work_a  # type: ignore[import-not-found]

    work = work_a()
    return [len(work.labels) * rate for rate in epochs_per_second(work, model_spec(model, **MODELS[model][0]), windows)]


def theirs(model: str, windows: int) -> list[float]:
    """Return rows/s of FuxiCTR's own epoch loop on batches held in memory."""
    import tempfile

    import torch

    from fuxictr_zoo import Loader, network  # type: ignore[import-not-found]
    from workloads import FRAPPE, work_a  # type: ignore[import-not-found]

    torch.set_num_threads(2)
    work = work_a()
    _, file, options = MODELS[model]
    data = type("Data", (dict,), {"__getattr__": dict.__getitem__})(
        cat_names=list(FRAPPE), num_names=[], vocab=[v + 2 for v in FRAPPE.values()], dim=10
    )
    with tempfile.TemporaryDirectory() as folder:
        linear = model in ("lr", "fm", "ffm", "fwfm")
        penalty = {"regularizer": 0.05} if linear else {"embedding_regularizer": 0.05}
        built = network(file, {**penalty, **options}, data, folder)
        columns = {name: torch.from_numpy(work.ids[:, i].copy()) for i, name in enumerate(FRAPPE)}
        columns["label"] = torch.from_numpy(work.labels)
        loader = Loader(columns, 4096)
        built._max_gradient_norm, built._stop_training = 10.0, False
        built._total_steps, built._eval_steps = 0, 10**9
        rates: list[float] = []
        for _ in range(windows + 1):
            start = time.perf_counter()
            built.train_epoch(loader)
            rates.append(len(work.labels) / (time.perf_counter() - start))
    return rates[1:]


if __name__ == "__main__":
    main()
