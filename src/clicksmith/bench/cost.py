"""What a model costs: floating-point operations of a prediction, memory of a training; and where it was measured."""

import resource
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import clicksmith
from clicksmith.batch.batch import inputs_of, to_device
from clicksmith.bench.row import Provenance
from clicksmith.encode.layout import Layout
from clicksmith.encode.store import Store
from clicksmith.identity import digest, file_digest
from clicksmith.kernels import native
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.serve.environment import environment

BASE = 1 << 30
"""Bytes of a training process without the model: libraries, buffers, batches."""
COPIES = 5
"""Weights, gradients, two moments of Adam, and the best weights so far."""
_ROWS = 128
_REQUEST = 100
"""Rows that are scored at once where latency is measured: the candidates of a request."""
_CALLS, _SECONDS = (30, 200), 1.0
"""At least and at most so many calls, and about so long."""


def flops_per_row(model: CTRModel, store: Store) -> int:
    """Return the floating-point operations of products of matrices in one prediction, counted by torch."""
    rows, learned = store.slice(0, _ROWS), [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in learned:  # torch's counter stumbles over parameters that a module is given without gradients
            parameter.requires_grad_(False)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.eval()(inputs_of(rows))
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
    return round(counter.get_total_flops() / len(rows))


def latency_ms(model: CTRModel, store: Store) -> tuple[float, float]:
    """Return median and 99th percentile of the milliseconds in which the model scores 100 encoded rows here."""
    rows = store.slice(0, min(_REQUEST, store.rows))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval()
    waited: list[float] = []
    least, most = _CALLS
    with torch.inference_mode():
        model(to_device(inputs_of(rows), device)).logits.cpu()  # the first call sets things up
        while len(waited) < least or (len(waited) < most and sum(waited) < _SECONDS):
            began = time.perf_counter()
            model(to_device(inputs_of(rows), device)).logits.cpu()
            waited.append(time.perf_counter() - began)
    return round(1000 * median(waited), 4), round(1000 * float(np.quantile(waited, 0.99, method="higher")), 4)


def memory_needed(spec: ModelSpec, layout: Layout) -> int:
    """Return about how many bytes training takes, without building the weights.

    Raises CompositionError if the spec does not fit the data.
    """
    with torch.device("meta"):
        parameters = CTRModel(spec, layout).parameter_counts().total
    return BASE + COPIES * 4 * parameters


def peak_memory(device: str) -> int:
    """Return the most bytes that this process held so far, on the GPU if that is where the model is."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count what the starting process held
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_free(meminfo: Path = Path("/proc/meminfo"), container: Path = Path("/sys/fs/cgroup")) -> int:
    """Return about how many bytes new processes may use: most of what the system and the container leave.

    A container counts the files that it has read as used; the system drops those when a process needs the memory.
    Never less than what a trial takes before its model.
    """
    found = [8 << 30]
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found = [int(lines["MemAvailable"].split()[0]) * 1024]
    most, used, parts = (container / f"memory.{name}" for name in ("max", "current", "stat"))
    if most.exists() and used.exists() and most.read_text().strip().isdigit():
        stat = dict(line.split() for line in parts.read_text().splitlines()) if parts.exists() else {}
        found.append(int(most.read_text()) - int(used.read_text()) + int(stat.get("inactive_file", 0)))
    return max(BASE, round(min(found) * 0.8))


@cache
def code_digest(own: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of the package's source files and the user's own: which code a row was made with."""
    root = Path(clicksmith.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".c"))
    found = {path.relative_to(root).as_posix(): file_digest(path) for path in files}
    return digest(found if not own else [found, [file_digest(Path(file)) for file in own]])


def provenance(device: str, *, packages: Mapping[str, str] | None = None, files: tuple[str, ...] = ()) -> Provenance:
    """Describe this process: call it where the trial is run.

    `packages` are those that only some models need, `files` hold the user's own models.
    """
    found = environment()
    return Provenance(
        code=code_digest(files),
        python=found.python,
        platform=found.platform,
        processor=found.processor,
        packages={**found.packages, **(packages or {})},
        threads=torch.get_num_threads(),
        kernels=native.level(),
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
    )
