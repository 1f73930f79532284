"""What does a training step cost under a Plan's columns, beside the plain table and shorter vectors for all?

    python benchmarks/plan_step.py [--out FILE]

Work load A (workloads.py) with FM and DeepFM in bfloat16, in batches of 1024 and 4096 rows. Tables: `plain`; `dim`,
half the columns for all; `widths`, one width per vocabulary, as OptEmbed finds them; `blocks`, some columns for each
block of ids of like frequency, as DNIS finds them. They take turns; figures are processor milliseconds of a step, and
the median over the turns of the ratio to the plain table's in the same turn. One thread.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import msgspec
import numpy as np

import workloads
from clicksmith.embed.mixed import Mixed, MixedBlock
from clicksmith.embed.sockets import Table
from clicksmith.kernels import native
from clicksmith.models import model_spec
from clicksmith.models.spec import ModelSpec
from machine import command, machine

OUT = Path(__file__).parent / "results" / "plan_step.json"
WIDTHS = (10, 7, 3, 2, 1, 4, 5, 6, 3, 8)
BANDS = (40, 120, 400, 1200)
"""Known ids in the blocks up to here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    native.tune_allocator()
    results = [measured(name, batch, asked) for name in ("fm", "deepfm") for batch in (1024, 4096)]
    facts = {"command": command(), "machine": machine(), "kernels": native.level(), "precision": "bf16", "threads": 1}
    facts |= {"turns": asked.turns, "steps": asked.steps}
    asked.out.write_text(json.dumps(facts | {"results": results}, indent=1) + "\n")


def measured(name: str, batch: int, asked: argparse.Namespace) -> dict[str, object]:
    work = workloads.work_a()
    work.batch = batch
    steppers = {kind: workloads.Stepper(work, spec, precision="bf16") for kind, spec in kinds(name, work).items()}
    for stepper in steppers.values():
        for _ in range(asked.steps):
            stepper.step()
    spent: dict[str, list[float]] = {kind: [] for kind in steppers}
    for _ in range(asked.turns):
        for kind, stepper in steppers.items():
            began = time.process_time()
            for _ in range(asked.steps):
                stepper.step()
            spent[kind].append((time.process_time() - began) / asked.steps * 1e3)
    ratios = {kind: [a / b for a, b in zip(took, spent["plain"], strict=True)] for kind, took in spent.items()}
    row = {
        "model": name,
        "batch": batch,
        "processor_ms_per_step": {kind: round(statistics.median(took), 2) for kind, took in spent.items()},
        "of_plain": {kind: round(statistics.median(found), 2) for kind, found in ratios.items()},
    }
    print(json.dumps(row), flush=True)
    return row | {"turns_ms": {kind: [round(ms, 2) for ms in took] for kind, took in spent.items()}}


def kinds(name: str, work: workloads.Work) -> dict[str, ModelSpec]:
    """Return the model with each table."""
    found: dict[str, ModelSpec] = {}
    for kind in ("plain", "dim", "widths", "blocks"):
        spec = model_spec(name, dim=work.dim // 2 if kind == "dim" else work.dim)
        embed = spec.embed if kind in ("plain", "dim") else msgspec.structs.replace(spec.embed, table=table(kind, work))
        found[kind] = msgspec.structs.replace(spec, embed=embed)
    return found


def table(kind: str, work: workloads.Work) -> Table:
    if kind == "widths":
        chosen = zip(work.layout.slots, WIDTHS, strict=True)
        return Mixed(blocks=tuple(MixedBlock(slot.name, 2, slot.rows, tuple(range(width))) for slot, width in chosen))
    random, blocks = np.random.default_rng(0), list[MixedBlock]()
    for slot in work.layout.slots:
        ends = sorted({2, *(2 + end for end in BANDS if 2 + end < slot.rows), slot.rows})
        for first, last in itertools.pairwise(ends):
            columns = random.permutation(work.dim)[: random.integers(0, work.dim + 1)]
            blocks.append(MixedBlock(slot.name, first, last, tuple(sorted(columns.tolist()))))
    return Mixed(blocks=tuple(blocks))


if __name__ == "__main__":
    main()
