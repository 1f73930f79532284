"""The whole job: raw Criteo-format text to a trained, measured, saved FinalMLP, in one process as a user would run it.

    python benchmarks/make_criteo.py --peers FOLDER --rows 20000000 --out DATA/criteo_20000000.tsv
    python benchmarks/whole_job.py DATA/criteo_20000000.tsv --work DATA/run

One epoch over all rows but the last 400,000, which are split off as valid and test before the clock starts. Memory is
sampled from /proc while the job runs: `private` is what the process holds by itself, `resident` counts pages of mapped
files too, which the system takes back when it needs them. Result: benchmarks/results/whole_job.json.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from machine import command as shown
from machine import machine  # type: ignore[import-not-found]

HERE = Path(__file__).parent
HELD = 200_000
OPTIONS = {
    "--model": "finalmlp",
    "--model.dim": "16",
    "--model.units1": "[400,400,400]",
    "--model.units2": "[400]",
    "--model.heads": "50",
    "--model.gate": "false",
    "--model.batch-norm": "false",
    "--model.dropout1": "0.1",
    "--model.dropout2": "0.1",
    "--train.batch-size": "10000",
    "--epochs": "1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "whole_job.json")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    rows = split(args.text, args.work)
    schema = args.work / "schema.json"
    schema.write_text(json.dumps(schema_of()))
    names = "label,I1..I13,C1..C26"
    command = [sys.executable, "-m", "clicksmith.cli.main", "fit", str(args.work / "train.tsv"), "--columns", names]
    command += ["--valid", str(args.work / "valid.tsv"), "--test", str(args.work / "test.tsv"), "--schema", str(schema)]
    command += ["--out", str(args.work / "run"), "--train.precision", args.precision]
    command += [word for pair in OPTIONS.items() for word in pair]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    lines: list[tuple[float, str]] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append((round(time.perf_counter() - start, 1), line.rstrip().replace(str(args.work), "SCRATCH")))
        print(*lines[-1], flush=True)
    status = process.wait()
    seconds = time.perf_counter() - start
    metrics = json.loads((args.work / "run" / "metrics.json").read_text()) if status == 0 else {}
    result: dict[str, Any] = {
        "command": shown(),
        "machine": machine(),
        "rows": rows,
        "text_bytes": (args.work / "train.tsv").stat().st_size,
        "precision": args.precision,
        "exit": status,
        "seconds": round(seconds, 1),
        **watch.peaks(),
        "test": {k: metrics["test"][k] for k in ("auc", "logloss")} if metrics else None,
        "log": lines,
        "runs": 1,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "log"}, indent=1))


class Watch:
    """Samples the memory of a process four times a second."""

    def __init__(self, pid: int) -> None:
        self.file, self.resident, self.private = Path(f"/proc/{pid}/status"), 0, 0
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            try:
                text = self.file.read_text()
            except OSError:
                return
            sizes = {k: int(v) for k, v in re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", text)}
            self.resident = max(self.resident, sizes.get("VmRSS", 0))
            self.private = max(self.private, sizes.get("RssAnon", 0))
            time.sleep(0.25)

    def peaks(self) -> dict[str, int]:
        """Return the peaks in megabytes."""
        return {"peak_resident_mb": self.resident // 1024, "peak_private_mb": self.private // 1024}


def split(text: Path, folder: Path) -> int:
    """Write the last rows as valid and test, the others as train; return the number of training rows."""
    total = int(subprocess.run(["wc", "-l", str(text)], capture_output=True, text=True, check=True).stdout.split()[0])
    rows = total - 2 * HELD
    with (folder / "train.tsv").open("wb") as out:
        subprocess.run(["head", "-n", str(rows), str(text)], stdout=out, check=True)
    with (folder / "valid.tsv").open("wb") as out:
        tail = subprocess.Popen(["tail", "-n", str(2 * HELD), str(text)], stdout=subprocess.PIPE)
        subprocess.run(["head", "-n", str(HELD)], stdin=tail.stdout, stdout=out, check=True)
        tail.communicate()
    with (folder / "test.tsv").open("wb") as out:
        subprocess.run(["tail", "-n", str(HELD), str(text)], stdout=out, check=True)
    return rows


def schema_of() -> dict[str, Any]:
    """Return Criteo's columns."""
    fields = [{"kind": "numeric", "name": f"I{i + 1}", "scale": "log"} for i in range(13)]
    fields += [{"kind": "categorical", "name": f"C{i + 1}", "min_count": 2} for i in range(26)]
    return {"fields": fields, "label": {"kind": "label", "name": "label"}}


if __name__ == "__main__":
    main()
