"""Training speed beside the peers on one machine: the table of the README.

    python benchmarks/train_speed.py --peers FOLDER --out benchmarks/results/train_speed.json

FOLDER is the peers' benchmark with its environment variables set (CTRBENCH_DATA, CTRBENCH_TMP, FUXI_ZOO); see its
README. Contenders run one after another in processes of their own, in turns, `--rounds` times; each gives the median of
three or more windows. Also measured: the processor's own rate of matrix products, hence the share of the bound that is
reached, and how a step grows from 5 to 50 million ids. Run it on an idle machine; `load` is kept in every row.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import workloads
from clicksmith.batch.batch import Inputs
from clicksmith.kernels.dense import multiplies
from clicksmith.models.spec import CTRModel
from machine import command

HERE = Path(__file__).resolve().parent
NAMES = {"A": "frappe200k", "B": "criteo200k"}
CONTENDERS = (
    "fuxictr:loader=mem",
    "limit:prec=fp32",
    "limit:prec=bf16",
    "clicksmith:prec=fp32",
    "clicksmith:prec=bf16",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train_speed.json")
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter with torch, the peers and our dependencies"
    )
    parser.add_argument("--fuxi-python", default=None, help="interpreter for FuxiCTR, if another")
    parser.add_argument("--works", nargs="*", default=["A", "B"])
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--growth", action="store_true", help="measure 5 against 50 million ids too (needs 12 GB)")
    args = parser.parse_args()
    result = {
        "command": command(),
        "machine": machine(),
        "matrix_products": products(),
        "rows": [],
        "growth": [],
    }
    for work in args.works:
        for model in args.models or workloads.MODELS[work]:
            flops = flops_per_row(work, model)
            for _ in range(args.rounds):
                for contender in args.contenders:
                    row = measure(args, contender, work, model)
                    row["flops_per_row"] = flops
                    row["share_of_bound"] = share(row, flops, result["matrix_products"])
                    result["rows"].append(row)
                    print(json.dumps(row), flush=True)
                    write(args.out, result)
    result["table"] = table(result["rows"])
    if args.growth:
        result["growth"] = [growth(ids) for ids in (5_000_000, 50_000_000)]
    write(args.out, result)
    print("\n".join(result["table"]))


def measure(args: argparse.Namespace, contender: str, work: str, model: str) -> dict:
    """Run one contender in a process of its own and return the line it prints."""
    python = args.fuxi_python or args.python if contender.startswith("fuxictr") else args.python
    slow = contender.startswith("fuxictr") or model == "AutoInt"
    steps = ["--windows", "3", "--window", "6" if slow else "15", "--warmup", "3"]
    command = [python, str(HERE / "peers_contender" / "run.py"), str(args.peers), "--contender", contender]
    command += ["--work", NAMES[work], "--model", model, *steps]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line[7:] for line in done.stdout.splitlines() if line.startswith("@@JSON ")]
    known = {"contender": contender, "work": work, "model": model}
    return json.loads(lines[-1]) | known if lines else known | {"failed": (done.stderr or done.stdout)[-800:]}


def machine() -> dict:
    """Return what the figures depend on."""
    cpu = next((s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")), "")
    return {
        "processor": cpu.partition(":")[2].strip(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def products() -> dict[str, float]:
    """Return GFLOP/s of products in the layers of A and B: the best of torch's and oneDNN's, by precision it has."""
    found: dict[str, float] = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if not multiplies(dtype):
            continue
        rates = []
        for rows, inputs, outputs in ((4096, 400, 400), (10_000, 624, 400)):
            x, w = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
            ways = (
                torch.nn.functional.linear,
                lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""),
            )
            rates.append(max(2 * rows * inputs * outputs / median_time(way, x, w) / 1e9 for way in ways))
        found[precision] = round(statistics.mean(rates), 1)
    return found


def median_time(function, x: torch.Tensor, w: torch.Tensor) -> float:
    function(x, w)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        function(x, w)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def flops_per_row(work: str, model: str) -> float:
    """Return the multiplications and additions in matrix products of a training step, per row: three times forward."""
    from torch.utils.flop_counter import FlopCounterMode

    load = workloads.work_a(64) if work == "A" else workloads.work_b(64, 200_000)
    module = CTRModel(workloads.spec_of(work, model, load.dim), load.layout).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(Inputs(torch.from_numpy(load.ids), torch.from_numpy(load.numeric)))
    return 3 * counter.get_total_flops() / 64


def share(row: dict, flops: float, rates: dict[str, float]) -> float | None:
    """Return the reached rate as a share of what matrix products alone would allow."""
    if not row.get("samples_per_s"):
        return None
    return round(row["samples_per_s"] * flops / (rates["bf16" if "bf16" in row["contender"] else "fp32"] * 1e9), 3)


def growth(ids: int) -> dict:
    """Return our step on work B with so many ids, in a process of its own."""
    command = [
        sys.executable,
        str(HERE / "step.py"),
        "--works",
        "B",
        "--models",
        "DNN",
        "--precisions",
        "fp32",
        "--ids",
        str(ids),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: list[dict]) -> list[str]:
    """Return the medians over rounds as Markdown: rows/s, and ratios to FuxiCTR."""
    names = list(dict.fromkeys(r["contender"] for r in rows))
    lines = [f"| work | model | {' | '.join(names)} |", "|---|---|" + "--:|" * len(names)]
    for work, model in dict.fromkeys((r["work"], r["model"]) for r in rows):
        rates = {}
        for name in names:
            found = [
                r.get("samples_per_s") for r in rows if (r["work"], r["model"], r["contender"]) == (work, model, name)
            ]
            found = [f for f in found if f]
            rates[name] = statistics.median(found) if found else None
        base = next((rates[n] for n in names if n.startswith("fuxictr")), None)
        cells = [
            "–" if r is None else f"{r / 1e3:.1f}k" + (f" ({r / base:.1f}x)" if base else "") for r in rates.values()
        ]
        lines.append(f"| {work} | {model} | {' | '.join(cells)} |")
    return lines


def write(path: Path, result: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
