"""How long does scoring take? p50 and p99 for 1, 100 and 1000 raw rows, and for rows that are encoded already.

A FinalMLP with 39 fields (13 numbers, 26 categories) and one with a behaviour sequence of 50, weights as initialised:
speed does not depend on their values. Run on a quiet machine:

    OMP_NUM_THREADS=1 python benchmarks/latency.py
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from clicksmith.encode.encoder import Encoder
from clicksmith.fitting.asked import new_model, spec_for
from clicksmith.schema import Behaviour, Categorical, Label, Numeric, Schema
from clicksmith.serve.artifact import Artifact, save
from clicksmith.serve.environment import environment
from clicksmith.serve.predictor import Predictor, load

RESULTS = Path(__file__).parent / "results" / "latency.json"
SIZES = (1, 100, 1000)


def rows_of(count: int, *, histories: bool, seed: int = 0) -> pl.DataFrame:
    """Make rows in Criteo's shape; `histories` adds 50 past values of C1 per row."""
    random = np.random.default_rng(seed)
    numbers = {f"I{i}": random.integers(0, 1000, count) for i in range(1, 14)}
    names = {f"C{i}": [f"{x:08x}" for x in random.zipf(1.2, count) % 100_000] for i in range(1, 27)}
    label = {"label": np.arange(count) % 2}
    if not histories:
        return pl.DataFrame({**label, **numbers, **names})
    past = ["|".join(f"{x:08x}" for x in random.zipf(1.2, 50) % 100_000) for _ in range(count)]
    return pl.DataFrame({**label, **numbers, **names, "past": past})


def predictor_of(folder: Path, *, histories: bool, model: str) -> Predictor:
    """Return a predictor, saved and loaded as users do it."""
    numbers = tuple(Numeric(f"I{i}", scale="log") for i in range(1, 14))
    names = tuple(Categorical(f"C{i}", role="user" if i < 10 else "item") for i in range(1, 27))
    past = (Behaviour("past", of="C1", max_length=50),) if histories else ()
    schema = Schema(fields=(*numbers, *names), behaviours=past, label=Label("label"))
    encoder = Encoder.fit(schema, rows_of(20_000, histories=histories))
    spec = spec_for(model, None, schema)
    built = new_model(spec, encoder.layout, seed=0).eval()
    save(folder, Artifact(spec=spec, model=built, encoder=encoder, schema=schema))
    return load(folder)


def timed(call: Callable[[], Any], calls: int) -> dict[str, float]:
    """Return p50 and p99 in milliseconds of wall time, after a tenth of the calls as warm-up."""
    for _ in range(max(3, calls // 10)):
        call()
    taken = np.empty(calls)
    for i in range(calls):
        start = time.perf_counter()
        call()
        taken[i] = time.perf_counter() - start
    return {
        "p50_ms": round(float(np.median(taken)) * 1e3, 4),
        "p99_ms": round(float(np.quantile(taken, 0.99)) * 1e3, 4),
    }


def measure(model: str, calls: int) -> list[dict[str, Any]]:
    """Measure every case."""
    found: list[dict[str, Any]] = []
    for histories in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            predictor = predictor_of(Path(folder) / "model", histories=histories, model=model)
        frame = rows_of(max(SIZES), histories=histories, seed=1)
        user = frame.drop("label").to_dicts()[0]
        for size in SIZES:
            rows = (
                [{**user, "C20": str(i)} for i in range(size)] if histories else frame.drop("label").to_dicts()[:size]
            )
            raw = rows[0] if size == 1 else rows
            encoded = predictor.artifact.encoder.encode(raw)
            many = max(10, calls // size)
            case = {"history": 50 if histories else 0, "rows": size}
            found.append({**case, "input": "raw dicts", **timed(partial(predictor.predict, raw), many)})
            found.append({**case, "input": "encoded", **timed(partial(predictor.logits, encoded), many)})
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="finalmlp")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = measure(options.model, options.calls)
    for line in found:
        print(f"history {line['history']:>2}  {line['rows']:>4} rows {line['input']:<9}  "
              f"p50 {line['p50_ms']:8.3f} ms  p99 {line['p99_ms']:8.3f} ms")  # fmt: skip
    about = environment()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/latency.py",
        "model": options.model,
        "torch_threads": torch.get_num_threads(),
        "machine": {"processor": about.processor, "platform": platform.platform(), "packages": about.packages},
        "cases": found,
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
