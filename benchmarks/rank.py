"""`clicksmith rank` beside the `outrank` package: rows per second on the same file, and what both put first.

    python benchmarks/rank.py                                            # ours alone
    python benchmarks/rank.py --peer-python VENV/bin/python              # and outrank 0.97.5 in the same run

The peer needs an environment of its own: `pip install "outrank==0.97.5" "xxhash<4"`. Both read one CSV file with 100
fields in a fresh process; wall time covers start, reading, ranking and writing. The peer ranks fields against the label
only, with every row, as its fastest setting does.

Quality: planted fields of 2 to 10,000 skewed values, a tenth of which move the click rate; precision among the first 20
of 200 fields on 16,384 rows (one batch of the peer's rule), the mean over draws, and on the file of the speed run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clicksmith.datasets.fields import planted_fields
from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.rank import rank_store
from machine import command, machine

METHODS = ("adjusted_mi", "outrank", "mi", "chi2", "permutation")
OURS = "import sys; from clicksmith.cli.main import main; sys.exit(main(sys.argv[1:]))"


def quality(draws: int) -> dict[str, Any]:
    """Return precision@20 of every method, mean over draws."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for seed in range(draws):
        codes, labels, relevant = planted_fields(seed=seed)
        names = [f"f{i}" for i in range(codes.shape[1])]
        slots = tuple(Slot(name, int(codes[:, i].max()) + 3) for i, name in enumerate(names))
        layout = Layout(slots=slots, ids=tuple(IdColumn(n, n) for n in names))
        rows = EncodedRows(codes + 2, np.zeros((len(codes), 0), np.float32), labels=labels[:, None].astype(np.float32))
        store = Store.of(rows, layout)
        for name in METHODS:
            ranked = [f.field for f in rank_store(store, score=name).fields]
            found[name].append(precision(ranked, relevant, 20))
    return {
        name: {"precision_at_20": round(statistics.mean(values), 3), "least": min(values), "draws": draws}
        for name, values in found.items()
    }


def precision(ranked: list[str], relevant: set[int], most: int) -> float:
    """Return the share of the first fields that are relevant."""
    return sum(int(name[1:]) in relevant for name in ranked[:most]) / most


def timed(words: list[str], folder: Path) -> dict[str, float]:
    """Run a command in a folder and return its wall and processor time and peak memory."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        subprocess.run(words, check=True, cwd=folder, stdout=log, stderr=log)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(wall, 3), "cpu_s": round(cpu, 3)}


def ours(file: Path, folder: Path, rows: int, relevant: set[int], runs: int) -> dict[str, Any]:
    """Rank with clicksmith; the median of some runs."""
    words = [sys.executable, "-c", OURS, "rank", str(file), "--label", "label", "--out", str(folder / "ranked")]
    times = sorted((timed(words, folder) for _ in range(runs)), key=lambda t: t["seconds"])
    ranked = [entry["field"] for entry in json.loads((folder / "ranked" / "ranking.json").read_text())]
    return told("clicksmith", times[len(times) // 2], rows, ranked, relevant) | {"runs": runs}


def peer(python: Path, file: Path, folder: Path, rows: int, relevant: set[int]) -> dict[str, Any]:
    """Rank with the outrank package."""
    program = python.absolute().parent / "outrank"
    options = {
        "task": "ranking",
        "data_path": file.parent,
        "data_source": "csv-raw",
        "output_folder": folder / "peer",
        "label_column": "label",
        "heuristic": "MI-numba-randomized",
        "target_ranking_only": True,
        "num_threads": os.cpu_count(),
        "subsampling": 1,
        "combination_number_upper_bound": 32_768,
        "disable_tqdm": True,
    }
    words = [str(program), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    times = timed(words, folder)
    with (folder / "peer" / "pairwise_ranks.tsv").open() as lines:
        scores: dict[str, list[float]] = {}
        for line in csv.DictReader(lines, delimiter="\t"):
            one, two = (line[key].partition("-(")[0] for key in ("FeatureA", "FeatureB"))
            if (one == "label") != (two == "label"):
                scores.setdefault(two if one == "label" else one, []).append(float(line["Score"]))
    ranked = sorted(scores, key=lambda name: -statistics.median(scores[name]))
    return told("outrank", times, rows, ranked, relevant)


def told(who: str, times: dict[str, float], rows: int, ranked: list[str], relevant: set[int]) -> dict[str, Any]:
    """Return a row of the results."""
    most = len(relevant)
    shares = {f"precision_at_{most}": round(precision(ranked, relevant, most), 3)}
    return {"who": who, "rows": rows, **times, "rows_per_s": round(rows / times["seconds"]), **shares}


def main() -> None:
    """Measure and write benchmarks/results/rank.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--fields", type=int, default=100)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-python", type=Path)
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        codes, labels, relevant = planted_fields(asked.rows, asked.fields, effect=0.05)
        file = folder / "rows" / "data.csv"  # the name that the peer looks for
        file.parent.mkdir()
        frame = pl.DataFrame({f"f{i}": codes[:, i] for i in range(asked.fields)}).with_columns(label=pl.Series(labels))
        frame.write_csv(file)
        del frame, codes
        results.append(ours(file, folder, asked.rows, relevant, asked.runs))
        print(results[-1], flush=True)
        if asked.peer_python is None or not asked.peer_python.exists():
            print("outrank was not measured: give --peer-python VENV/bin/python of an environment that has it")
        else:
            results.append(peer(asked.peer_python, file, folder, asked.rows, relevant))
            print(results[-1], flush=True)
            print(f"{results[0]['rows_per_s'] / results[1]['rows_per_s']:.1f} times the rows per second")
    found = quality(asked.draws)
    print(json.dumps(found, indent=1))
    path = Path(__file__).parent / "results" / "rank.json"
    text = json.dumps({"command": command(), "machine": machine(), "speed": results, "quality": found}, indent=1)
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
