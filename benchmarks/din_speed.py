"""Training speed of DIN beside FuxiCTR's and a plain torch sketch's, on the peers' work over behaviour sequences.

    python benchmarks/din_speed.py --peers FOLDER --zoo FUXICTR/model_zoo --peer-python FUXI/bin/python

200,000 items, 10,000 users, dim 16, batch 1024, histories half to wholly full, attention of 64 units with Dice, dense
layers 512, 128, 64; two threads, a process each, one after another; after one to warm up, the median of
the windows counts, of the peers of five steps. They repeat one batch in a bare loop (`run_seq.py` there), and the plain
sketch has SiLU for Dice; ours is the trainer over distinct rows.
Result: benchmarks/results/din_speed.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ITEMS, USERS, BATCH, STEPS = 200_000, 10_000, 1024, 6
PEERS = {"fuxictr": "fuxi_din", "plain torch": "plain_din"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "din_speed.json")
    parser.add_argument("--one", nargs=2, metavar=("PRECISION", "LENGTH"), help="measure ours once (used by the run)")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(ours(asked.one[0], int(asked.one[1]), asked.windows)))
        return
    if asked.peers is None or asked.zoo is None:
        parser.error("give --peers and --zoo")
    if "/" in asked.peer_python:  # the measurements run in another folder
        asked.peer_python = str(Path(asked.peer_python).absolute())
    from machine import command, machine  # type: ignore[import-not-found]

    found: list[dict[str, Any]] = []
    for length in asked.lengths:
        row: dict[str, Any] = {"length": length}
        for name, who in PEERS.items():
            row[name] = measured([asked.peer_python, "run_seq.py", "--who", who, "--len", str(length)], asked)
        for precision in asked.precisions:
            call = [sys.executable, __file__, "--one", precision, str(length), "--windows", str(asked.windows)]
            row[f"clicksmith {precision}"] = measured(call, asked)
        base = row["fuxictr"]["samples_per_s"]
        for rates in row.values():
            if isinstance(rates, dict):
                rates["to_fuxictr"] = round(rates["samples_per_s"] / base, 2)
        found.append(row)
        print(row, flush=True)
    result = {"command": command(), "unit": "rows/s", "machine": machine(), "rows": found}
    asked.out.write_text(json.dumps(result, indent=1) + "\n")


def measured(call: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """Run one measurement in a process of its own; return its rate and peak memory."""
    (Path.home() / ".cache" / "ctrbench").mkdir(parents=True, exist_ok=True)  # where the peers' script writes
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "FUXI_ZOO": str(asked.zoo.resolve())}
    done = subprocess.run(call, cwd=asked.peers.resolve(), env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "samples_per_s" in line]
    if not lines:
        raise SystemExit(done.stderr[-2000:])
    told = json.loads(lines[-1][lines[-1].index("{") :])
    return {"samples_per_s": round(told["samples_per_s"], 1), "peak_rss_mb": told["peak_rss_mb"]}


def ours(precision: str, length: int, windows: int) -> dict[str, float]:
    """Return rows/s of our trainer, an epoch of a few steps a window."""
    import resource

    import numpy as np
    import torch

    from clicksmith.encode.layout import HistoryColumn, HistoryLayout, IdColumn, Layout, Slot
    from clicksmith.models import model_spec
    from workloads import Work, epochs_per_second  # type: ignore[import-not-found]

    torch.set_num_threads(2)
    random, rows = np.random.default_rng(0), BATCH * STEPS
    history = HistoryLayout("past", (HistoryColumn("item", "item", "item"),), length)
    layout = Layout(
        slots=(Slot("user", USERS), Slot("item", ITEMS)),
        ids=(IdColumn("user", "user"), IdColumn("item", "item")),
        histories=(history,),
        order=("user", "item"),
    )
    ids = np.stack([random.integers(1, USERS, rows), random.integers(1, ITEMS, rows)], 1).astype(np.int32)
    past = random.integers(1, ITEMS, (rows, length, 1)).astype(np.int32)
    filled = random.integers(length // 2, length + 1, (rows, 1))
    past[np.arange(length)[None] < length - filled] = 0
    labels = random.integers(0, 2, rows).astype(np.float32)
    work = Work("din", layout, ids, np.zeros((rows, 0), np.float32), labels, 16, BATCH, 0.0, {"past": past})
    spec = model_spec("din", dim=16, attention_units=(64,), units=(512, 128, 64), activation="relu")
    rates = [rows * rate for rate in epochs_per_second(work, spec, windows, precision=precision)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"samples_per_s": statistics.median(rates), "peak_rss_mb": round(peak, 1)}


if __name__ == "__main__":
    main()
