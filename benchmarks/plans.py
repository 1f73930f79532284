"""Do Plans help on real rows? Searches, their controls and chains of searches, under the benchmark's tuned settings.

    python benchmarks/plans.py frappe_x1_rebuilt --data FOLDER --seeds 5 --jobs 2
    python benchmarks/plans.py frappe_x1_rebuilt --summary

A run is a backbone, a method and a seed, in a process of its own on one thread. Methods and their options are those of
benchmarks/settings/plans_DATASET.toml. Beside them run `plain`; `warm`, the plain backbone trained twice, the second
time from the weights of the first; and METHOD-CONTROL, as large as the model that METHOD found with the same seed:

    random, frequent      features by chance, or the most frequent ones
    columns_random, columns_size    columns of blocks of features by chance, or by the size of the plain model's vectors
    dim                   the plain backbone with another dimension for all
    hash, frequency       ids that share rows by chance, the most frequent ones excepted for the latter
    double                the sum of two rows that ids share by chance
    rate                  ids of like click rate share a row: knows the labels, and no graph
    pairs                 as many pairs of either operation, drawn by chance

Models are selected on validation rows, after ten evaluations without a rise, and tested once. Runs that are there are
not run again; what a killed one did is lost. Results: benchmarks/results/plans/DATASET/BACKBONE/METHOD/SEED.json with
the test logits beside it; `--summary`
writes summary.json and summary.md of a data set (see plans_summary.py).
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import msgspec

from machine import command
from plans_recipes import BACKBONES, PLAIN, SETTINGS, Asked, everything, methods, needs

HERE = Path(__file__).parent
PATIENT = {"patience": 10, "plateau_factor": 1.0}
"""Validation may fall before it rises; a model that is stopped there says nothing of its Plan."""
PARENT_DIES = 1
"""What a process asks the system to end it for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", help="a name of `clicksmith datasets`, or a TOML file that declares one")
    parser.add_argument("--data", default="", help="folder of the data set")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--methods", nargs="+", help="all if not given; what a control needs is run as well")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--epochs", type=int, help="at most; for a look")
    parser.add_argument("--searches", type=Path, help="another file of methods")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "plans")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one)
        return
    if asked.dataset is None:
        parser.error("name a data set")
    searches = asked.searches or SETTINGS / f"plans_{asked.dataset}.toml"
    if asked.summary:
        from plans_summary import summarise

        print(summarise(asked.out / Path(asked.dataset).stem, searches))
        return
    runs = wanted(asked, searches)
    print(f"{len(runs)} runs to do", flush=True)
    work_off(runs, asked.jobs)


def wanted(asked: argparse.Namespace, searches: Path) -> list[Asked]:
    """Return the runs that have no record, in order: seed by seed, and what others need before them."""
    order = everything(searches)
    chosen = set(asked.methods or order)
    if unknown := chosen - set(order):
        raise SystemExit(f"no such methods: {', '.join(sorted(unknown))}; there are {', '.join(order)}")
    chosen |= {PLAIN} | {need for method in chosen for need in needs(method)}
    train = {"precision": asked.precision, "device": "cpu", **PATIENT}
    train |= {"epochs": asked.epochs} if asked.epochs else {}
    runs = [
        Asked(asked.dataset, backbone, method, seed, train, str(searches), asked.data, str(asked.out), command())
        for seed in range(asked.seeds)
        for backbone in asked.backbones
        for method in order
        if method in chosen
    ]
    return [run for run in runs if not same_training(run)]


def same_training(run: Asked) -> bool:
    """Say whether a run is there. Stops if it is one with other training or another search."""
    path = run.record()
    if not path.exists():
        return False
    held = msgspec.json.decode(path.read_bytes())
    if held["train"] != run.train:
        raise SystemExit(f"'{path}' was trained with {held['train']}, asked is {run.train}; choose another --out.")
    chain = list(msgspec.to_builtins(methods(run.searches).get(run.method, ())))
    if chain and held.get("searches", chain) != chain:
        raise SystemExit(f"'{path}' was searched with {held['searches']}, asked is {chain}; choose another --out.")
    return True


def work_off(runs: list[Asked], jobs: int) -> None:
    """Run all, some at once; a run waits for those whose records it reads, and is left out where these fail."""
    waiting, running = list(runs), list[tuple[Asked, subprocess.Popen[bytes], IO[bytes], float]]()
    try:
        while waiting or running:
            for run in list(waiting):
                before = [run.record(need) for need in needs(run.method)]
                if any(lost(path, [*waiting, *(other[0] for other in running)]) for path in before):
                    waiting.remove(run)
                elif len(running) < jobs and all(path.exists() for path in before):
                    waiting.remove(run)
                    running.append(started(run))
            while running and all(process.poll() is None for _, process, _, _ in running):
                time.sleep(0.2)
            for entry in [entry for entry in running if entry[1].poll() is not None]:
                running.remove(entry)
                ended(*entry, left=len(waiting) + len(running))
    finally:
        for _, process, _, _ in running:
            process.kill()
            process.wait()


def lost(path: Path, runs: list[Asked]) -> bool:
    """Say whether a record is not there and nobody makes it, or says that there is no model."""
    if path.exists():
        return "refused" in msgspec.json.decode(path.read_bytes())
    return not any(run.record() == path for run in runs)


def started(run: Asked) -> tuple[Asked, subprocess.Popen[bytes], IO[bytes], float]:
    """Start the process of a run."""
    told = tempfile.TemporaryFile()  # noqa: SIM115 — closed when the process has ended
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", "/dev/stdin"], stdin=subprocess.PIPE, stdout=told, stderr=told,
        env=environment,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(run))
    process.stdin.close()
    return run, process, told, time.monotonic()


def ended(run: Asked, process: subprocess.Popen[bytes], told: IO[bytes], began: float, *, left: int) -> None:
    """Say how a run ended."""
    name, seconds = f"{run.backbone} {run.method} {run.seed}", time.monotonic() - began
    told.seek(0)
    words = told.read().decode(errors="replace").strip()
    told.close()
    if process.returncode:
        words = f"failed ({process.returncode})\n{words[-3000:]}"
    print(f"{name}: {words} [{seconds:.0f} s, {left} left]", flush=True)


def one(path: Path) -> None:
    """Make the run that a file describes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)
    import torch

    from plans_run import run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        asked = msgspec.json.decode(path.read_bytes(), type=Asked)
        facts = run(msgspec.structs.replace(asked, work=work))
    if "refused" in facts:
        print(f"refused: {facts['refused']}")
        return
    spent = facts["cpu_seconds"]
    print(
        f"test AUC {facts['test']['auc']:.5f}, {facts['embedding']:,} of {facts['parameters']:,} parameters embed, "
        f"search {spent['search']:.0f} s, refit {spent['refit']:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
