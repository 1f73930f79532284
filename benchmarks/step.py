"""Rows per second of a training step, and how it grows with the vocabulary; needs nothing but this package.

    python benchmarks/step.py                                   # every model of A and B, fp32 and bf16
    python benchmarks/step.py --works B --models DNN --ids 50000000 --updates exact lazy
    python benchmarks/step.py --works A --models AutoInt --profile

One JSON line per row: rows/s (median of windows), milliseconds of processor time a step, peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import torch

import workloads
from clicksmith.kernels import native


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", default=["A", "B"])
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--updates", nargs="+", default=["auto"])
    parser.add_argument("--ids", type=int, default=5_000_000, help="vocabulary of work B")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps in a window")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    args = parser.parse_args()
    native.tune_allocator()
    for name in args.works:
        work = workloads.work_a() if name == "A" else workloads.work_b(total=args.ids)
        for model in args.models or workloads.MODELS[name]:
            for precision in args.precisions:
                for update in args.updates:
                    stepper = workloads.Stepper(work, model, precision=precision, update=update)
                    if args.profile:
                        profile(stepper)
                        continue
                    row = {"work": name, "model": model, "precision": precision, "update": update, "ids": rows_of(work)}
                    print(json.dumps(row | measure(stepper, args.windows, args.steps)), flush=True)
                    del stepper


def rows_of(work: workloads.Work) -> int:
    return sum(slot.rows for slot in work.layout.slots)


def measure(stepper: workloads.Stepper, windows: int, steps: int) -> dict[str, float | str]:
    """Return rates of `windows` windows after a warm-up."""
    for _ in range(3):
        stepper.step()
    rates, processor = [], []
    for _ in range(windows):
        wall, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            stepper.step()
        rates.append(steps * stepper.work.batch / (time.perf_counter() - wall))
        processor.append((time.process_time() - used) / steps * 1e3)
    return {
        "rows_per_s": round(statistics.median(rates)),
        "rows_per_s_min": round(min(rates)),
        "rows_per_s_max": round(max(rates)),
        "processor_ms_per_step": round(statistics.median(processor), 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "kernels": native.level(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def profile(stepper: workloads.Stepper) -> None:
    """Print the operators that take the time of a step."""
    for _ in range(3):
        stepper.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(4):
            stepper.step()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=50))


if __name__ == "__main__":
    main()
