"""How long does scoring take? p50 and p99 for 1, 100 and 1000 raw rows, and for rows that are encoded already.

FinalMLP and DCNv2 with 39 fields (13 numbers, 26 categories with a million values together), and DIN with a behaviour
sequence of 50 more, weights as initialised: speed does not depend on their values. With one thread of torch and with
two, multiplying in float32 and in bfloat16. Run on a quiet machine (threads that wait for each other make a busy one
look far slower); about two minutes:

    python benchmarks/latency.py
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import torch

from clicksmith.encode.encoder import Encoder
from clicksmith.fitting.asked import new_model, spec_for
from clicksmith.schema import Behaviour, Categorical, Label, Numeric, Schema
from clicksmith.serve.artifact import Artifact, save
from clicksmith.serve.environment import environment
from clicksmith.serve.predictor import Precision, Predictor, load
from machine import command

RESULTS = Path(__file__).parent / "results" / "latency.json"
SIZES = (1, 100, 1000)
MODELS = {"finalmlp": False, "dcnv2": False, "din": True}
"""Whether a model reads a history."""
VALUES = 40_000
"""Distinct values of a category."""


def rows_of(count: int, *, histories: bool, seed: int = 0) -> pl.DataFrame:
    """Make rows in Criteo's shape; `histories` adds 50 past values of C26 per row."""
    random = np.random.default_rng(seed)
    numbers = {f"I{i}": random.integers(0, 1000, count) for i in range(1, 14)}
    names = {f"C{i}": [f"{x:08x}" for x in random.permutation(max(count, VALUES))[:count]] for i in range(1, 27)}
    label = {"label": np.arange(count) % 2}
    if not histories:
        return pl.DataFrame({**label, **numbers, **names})
    past = ["|".join(f"{x:08x}" for x in random.integers(0, VALUES, 50)) for _ in range(count)]
    return pl.DataFrame({**label, **numbers, **names, "past": past})


def predictor_of(folder: Path, *, histories: bool, model: str) -> Predictor:
    """Return a predictor, saved and loaded as users do it."""
    numbers = tuple(Numeric(f"I{i}", scale="log") for i in range(1, 14))
    names = tuple(Categorical(f"C{i}", role="user" if i < 10 else "item") for i in range(1, 27))
    past = (Behaviour("past", of="C26", max_length=50),) if histories else ()
    schema = Schema(fields=(*numbers, *names), behaviours=past, label=Label("label"))
    encoder = Encoder.fit(schema, rows_of(VALUES, histories=histories))
    spec = spec_for(model, None, schema)
    built = new_model(spec, encoder.layout, seed=0).eval()
    save(folder, Artifact(spec=spec, model=built, encoder=encoder, schema=schema))
    return load(folder)


def timed(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Return p50 and p99 in milliseconds of wall time over the calls of so many seconds (at least 20), after five."""
    for _ in range(5):
        call()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 20 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return {
        "calls": len(taken),
        "p50_ms": round(float(np.median(taken)) * 1e3, 4),
        "p99_ms": round(float(np.quantile(taken, 0.99)) * 1e3, 4),
    }


def measure(
    model: str, *, histories: bool, seconds: float, threads: list[int], precisions: list[Precision]
) -> list[dict[str, Any]]:
    """Measure every case of a model; several rows are candidates of one user, who gives C1 to C9 and the history."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        artifact = predictor_of(Path(folder) / "model", histories=histories, model=model).artifact
    rows = rows_of(max(SIZES), histories=histories, seed=1).drop("label").to_dicts()
    user = {name: rows[0][name] for name in rows[0] if name == "past" or name in {f"C{i}" for i in range(1, 10)}}
    rows = [{**row, **user} for row in rows]
    table_rows = sum(slot.rows for slot in artifact.encoder.layout.slots)
    for precision, count, size in product(precisions, threads, SIZES):
        predictor = Predictor(artifact, precision=precision)
        torch.set_num_threads(count)
        some, frame = rows[:size], pl.DataFrame(rows[:size])
        raw = some[0] if size == 1 else some
        encoded = artifact.encoder.encode(raw)
        case = {"model": model, "history": 50 if histories else 0, "table_rows": table_rows}
        case |= {"precision": precision, "threads": count, "rows": size}
        found.append({**case, "input": "raw dicts", **timed(partial(predictor.predict, raw), seconds)})
        found.append({**case, "input": "polars", **timed(partial(predictor.predict, frame), seconds)})
        found.append({**case, "input": "encoded", **timed(partial(predictor.logits, encoded), seconds)})
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=0.5, help="time to spend on a case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precisions", nargs="+", choices=get_args(Precision), default=list(get_args(Precision)))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for m in options.models:
        found += measure(
            m,
            histories=MODELS[m],
            seconds=options.seconds,
            threads=options.threads,
            precisions=options.precisions,
        )
    for line in found:
        print(f"{line['model']:<9} history {line['history']:>2}  {line['precision']}  {line['threads']} threads "
              f"{line['rows']:>4} rows {line['input']:<9}  "
              f"p50 {line['p50_ms']:8.3f} ms  p99 {line['p99_ms']:8.3f} ms")  # fmt: skip
    about = environment()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command(),
        "machine": {
            "processor": about.processor,
            "platform": f"{platform.system()} {platform.machine()}",
            "packages": about.packages,
        },
        "cases": found,
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
