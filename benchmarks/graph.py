"""GraphHash on a planted graph of ten million edges: seconds, memory, and how much of the plan is found.

The rows lie encoded on disk before the clock starts; each library works in a process of its own, on one thread, from
these rows to the finished id maps of both sides. Memory is the process's highest resident size, mapped rows included.
`agreement` is the adjusted mutual information of rows and communities, `together` the share of pairs of ids in one row
that are of one community; the latter tells where there are far more rows than communities.

    python benchmarks/graph.py --sizes 10m        writes benchmarks/results/graph.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from machine import command, machine

SIZES = {"10m": (1_000_000, 200_000, 2_000, 10_400_000), "1m": (200_000, 50_000, 500, 1_040_000)}
"""Left nodes, right nodes, communities, pairs drawn; pairs drawn twice are one edge."""
JUDGED = 50_000
"""Ids of each side on which the agreement is judged, drawn by chance: its cost grows with clusters times ids."""
OPTIONS: dict[str, tuple[dict[str, float | None], ...]] = {
    "10m": ({"resolution": 1.0, "rows": None}, {"rows": 800}),
    "1m": ({"resolution": 1.0, "rows": None}, {"resolution": 30.0, "rows": None}, {"rows": 1000}, {"rows": 0.25}),
}


def make(size: str, folder: Path) -> None:
    """Write the pairs as encoded rows, and their communities."""
    from clicksmith.datasets.blocks import planted_blocks
    from clicksmith.encode.vocabulary import FIRST

    left, right, blocks, pairs = SIZES[size]
    drawn = planted_blocks(left, right, blocks, pairs, seed=1)
    np.save(folder / "ids.npy", np.stack([drawn.left, drawn.right], 1) + np.int32(FIRST))
    np.save(folder / "left.npy", drawn.left_blocks)
    np.save(folder / "right.npy", drawn.right_blocks)


def measure(size: str, folder: Path, library: str, options: dict[str, float | None]) -> None:
    """Make the maps in this process, and print what they took."""
    from clicksmith.encode.layout import IdColumn, Layout, Slot
    from clicksmith.encode.rows import EncodedRows
    from clicksmith.encode.store import Store
    from clicksmith.encode.vocabulary import FIRST
    from clicksmith.graph.maps import GraphHash, shared_rows

    ids = np.load(folder / "ids.npy", mmap_mode="r")
    left, right, *_ = SIZES[size]
    layout = Layout(
        slots=(Slot("left", left + FIRST), Slot("right", right + FIRST)),
        ids=(IdColumn("left", "left"), IdColumn("right", "right")),
    )
    nothing = np.zeros((len(ids), 0), np.float32)
    rows = EncodedRows(ids=ids, numeric=nothing, labels=np.broadcast_to(np.float32(1), (len(ids), 1)))
    store = Store.of(rows, layout)
    start, spent = time.perf_counter(), time.process_time()
    asked = GraphHash(left="left", right="right", library=library, **options)  # type: ignore[arg-type]
    maps, scores = shared_rows(store, asked)
    seconds, processor = time.perf_counter() - start, time.process_time() - spent
    status = Path("/proc/self/status").read_text().splitlines()
    highest = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    from sklearn.metrics import adjusted_mutual_info_score as ami

    agreement: dict[str, float] = {}
    together: dict[str, float] = {}
    for side, (slot, one) in enumerate(maps.items()):
        met = np.unique(ids[:, side] - FIRST)  # the others are hashed
        some = np.random.default_rng(0).permutation(met)[:JUDGED]
        truth, found = np.load(folder / f"{slot}.npy"), one.ids.values[FIRST:].astype(np.int64)
        agreement[slot] = round(float(ami(truth[some], found[some])), 4)
        together[slot] = round(pairs(found[met] * len(truth) + truth[met]) / pairs(found[met]), 4)
    print(
        json.dumps(
            {
                "size": size,
                "library": library,
                "version": version(library),
                "options": options,
                "edges": scores["edges"],
                "seconds": round(seconds, 1),
                "processor_seconds": round(processor, 1),
                "highest_gb": round(highest / 2**20, 2),
                "rows": {slot: one.rows - FIRST for slot, one in maps.items()},
                "clusters": scores["clusters.left"],
                "resolution": round(scores["resolution.left"], 3),
                "modularity": round(scores["modularity.left"], 4),
                "agreement": agreement,
                "together": together,
            }
        )
    )


def pairs(labels: NDArray[np.int64]) -> float:
    """Return how many pairs of nodes have the same label."""
    sizes = np.unique(labels, return_counts=True)[1].astype(float)
    return float((sizes * (sizes - 1) / 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "graph.json")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--libraries", nargs="+", choices=("scikit-network", "networkit"), default=None)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        size, folder, library, options = asked.child
        measure(size, Path(folder), library, json.loads(options))
        return
    libraries = asked.libraries or ["scikit-network"] + ["networkit"] * (find_spec("networkit") is not None)
    found: list[dict[str, object]] = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory() as folder:
            make(size, Path(folder))
            for library in libraries:
                for options in OPTIONS[size]:
                    words = [sys.executable, __file__, "--child", size, folder, library, json.dumps(options)]
                    done = subprocess.run(
                        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
                    )
                    if done.returncode:
                        sys.exit(done.stderr)
                    found.append(json.loads(done.stdout))
                    print(json.dumps(found[-1]), flush=True)
    asked.out.write_text(json.dumps({"command": command(), "machine": machine(), "graphs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
