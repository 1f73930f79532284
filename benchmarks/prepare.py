"""Raw Criteo-format text to training-ready rows: seconds, CPU seconds and peak memory, ours beside the peers'.

    python benchmarks/prepare.py criteo.tsv                                  # ours
    python benchmarks/prepare.py criteo.tsv --rows-list 2000000,10000000     # memory must not grow with the rows
    python benchmarks/prepare.py criteo.tsv --peers FOLDER                   # FuxiCTR in the same run

The file has 40 tab-separated columns and no header: label, I1-I13, C1-C26. Every measurement is a fresh process, the
file's pages are warm. Sizes beyond the file's are made by writing it several times; with --fresh-values each time has
other tokens in C3, C12, C16 and C21, so that vocabularies (and the memory for them) go on growing. Run it on a quiet
machine; `cpu_s` says how much of it was ours.
"""

from __future__ import annotations

import argparse
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

NUMBERS = [f"I{i}" for i in range(1, 14)]
TOKENS = [f"C{i}" for i in range(1, 27)]
RENEWED = (3, 12, 16, 21)


def measure(file: Path, min_count: int) -> dict[str, Any]:
    """Encode `file` in this process and say what it took."""
    began = time.perf_counter()
    from clicksmith.encode.encoder import Encoder
    from clicksmith.encode.native import LIBRARY
    from clicksmith.encode.source import open_source
    from clicksmith.schema import Categorical, Label, Numeric, Schema

    import_s = time.perf_counter() - began
    fields = (*(Numeric(n, scale="log") for n in NUMBERS), *(Categorical(n, min_count=min_count) for n in TOKENS))
    schema = Schema(fields=fields, label=Label("label"))
    with file.open("rb", buffering=0) as opened:  # warm the page cache
        while opened.read(1 << 24):
            pass
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        source = open_source(file, columns=["label", *NUMBERS, *TOKENS])
        encoder, store = Encoder.fit_encode(schema, source, Path(folder) / "rows")
        encoder.save(Path(folder) / "encoder")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {
            "who": "clicksmith",
            "kernels": LIBRARY is not None,
            "rows": store.rows,
            "file_mb": round(file.stat().st_size / 1e6, 1),
            "seconds": round(wall, 3),
            "cpu_s": round(cpu, 3),
            "import_s": round(import_s, 3),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "ids": sum(slot.rows for slot in encoder.layout.slots),
            "values": sum(len(v.counts) + len(v.rare_counts) for v in encoder.fitted.vocabularies.values()),
        }


def of_size(file: Path, rows: int, folder: Path, fresh: bool) -> Path:
    """Return a file of `rows` rows made from `file`."""
    made = folder / f"{file.stem}_{rows}.tsv"
    left, turn = rows, 0
    with made.open("wb") as out:
        while left:
            with file.open("rb") as lines:
                for line in lines:
                    if not left:
                        break
                    left -= 1
                    if turn and fresh:
                        cells = line.rstrip(b"\n").split(b"\t")
                        for c in RENEWED:
                            if cells[13 + c]:
                                cells[13 + c] += b"%x" % turn
                        line = b"\t".join(cells) + b"\n"
                    out.write(line)
            turn += 1
    return made


def in_fresh_process(file: Path, arguments: argparse.Namespace, plain: bool = False) -> dict[str, Any]:
    """Run `measure` in a process of its own."""
    environment = {**os.environ, **({"CLICKSMITH_NATIVE": "0"} if plain else {})}
    command = [sys.executable, __file__, str(file), "--one", "--min-count", str(arguments.min_count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def peer(folder: Path, who: str, rows: int, python: str) -> dict[str, Any]:
    """Run a peer's preparation through the peers' own script."""
    command = [python, "run_prep.py", "--who", who, "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    line = next((x for x in done.stdout.splitlines() if x.startswith("@@JSON")), None)
    if line is None:
        return {"who": who, "rows": rows, "failed": done.stderr.strip().splitlines()[-1:]}
    found = json.loads(line.removeprefix("@@JSON"))
    return {"who": who, "rows": rows, "seconds": round(found["seconds"], 3), "peak_mb": round(found["rss_self_mb"], 1)}


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians by who and rows, and how many times quicker ours were than each peer's on the same rows."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in runs:
        if "failed" not in run:
            groups.setdefault((run["who"], run["rows"]), []).append(run)
    found = [
        {
            "who": who,
            "rows": rows,
            "runs": len(group),
            "median_s": round(statistics.median(run["seconds"] for run in group), 3),
            "median_peak_mb": round(statistics.median(run["peak_mb"] for run in group), 1),
        }
        for (who, rows), group in groups.items()
    ]
    ours = {line["rows"]: line["median_s"] for line in found if line["who"] == "clicksmith"}
    for line in found:
        if line["who"] != "clicksmith" and line["rows"] in ours:
            line["times_ours"] = round(line["median_s"] / ours[line["rows"]], 2)
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows-list", default="", help="sizes to measure, comma separated; default: the file as it is")
    parser.add_argument("--fresh-values", action="store_true", help="new tokens each time the file is written again")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--min-count", type=int, default=10)
    parser.add_argument("--plain", action="store_true", help="also without the compiled kernels")
    parser.add_argument("--peers", type=Path, help="folder of the peers' benchmark; its CTRBENCH_DATA must be set")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter with FuxiCTR installed")
    parser.add_argument("--peers-list", default="fuxictr", help="what run_prep.py calls them, comma separated")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prepare.json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.file, arguments.min_count)))
        return
    results: list[dict[str, Any]] = []

    def note(result: dict[str, Any]) -> None:
        results.append({**result, "load": round(os.getloadavg()[0], 2)})
        print(results[-1], flush=True)

    sizes = [int(size) for size in arguments.rows_list.split(",") if size]
    with tempfile.TemporaryDirectory(dir=arguments.file.parent) as folder:
        for size in sizes or [0]:
            file = of_size(arguments.file, size, Path(folder), arguments.fresh_values) if size else arguments.file
            for _ in range(arguments.repeat):
                note(in_fresh_process(file, arguments))
            if arguments.plain:
                note(in_fresh_process(file, arguments, plain=True) | {"who": "clicksmith without kernels"})
            if size:
                file.unlink()
    if arguments.peers:
        rows = next(r["rows"] for r in results)
        for who in arguments.peers_list.split(","):
            for _ in range(arguments.repeat):
                note(peer(arguments.peers, who, rows, arguments.peers_python))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", "benchmarks/prepare.py", *(Path(a).name if "/" in a else a for a in sys.argv[1:])])
    noted = {"command": command, "processors": os.cpu_count(), "summary": summary(results), "runs": results}
    arguments.out.write_text(json.dumps(noted, indent=1) + "\n")
    for line in noted["summary"]:
        print(line)
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
