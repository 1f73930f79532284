"""What is training worth with two threads where the machine is shared, and what do the command's own settings mend?

    python benchmarks/threads.py [--group FOLDER] [--out FILE]

`clicksmith fit` on simulated rows, in processes of their own: as torch sets it up (`torch`: a thread per core, which
waits for milliseconds before it gives its core away), as the command does (`clicksmith`, see clicksmith/threads.py) and
with one thread (`one`). Situations: `alone`; `beside`, while another program in a session of its own computes on one
core; and, where FOLDER is a control group with a quota of processor time to which one may write, `quota`, in it. They
take turns. A figure is the median of the rows per second that a training logs; what has not ended in time is stopped.
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from machine import command, machine

OUT = Path(__file__).parent / "results" / "threads.json"
WAYS = {
    "torch": {"OMP_NUM_THREADS": str(os.cpu_count()), "GOMP_SPINCOUNT": "300000"},
    "clicksmith": {},
    "one": {"OMP_NUM_THREADS": "1"},
}
CLICKSMITH = [sys.executable, "-m", "clicksmith"]
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="a training that has not ended then is stopped")
    parser.add_argument("--group", type=Path, help="folder of a control group with a quota")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    situations = ["alone", "beside", *(["quota"] if asked.group else [])]
    speeds: dict[str, dict[str, list[float]]] = {name: {way: [] for way in WAYS} for name in situations}
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [*CLICKSMITH, "datasets", "synthetic", "--out", f"{scratch}/data", "--rows", str(asked.rows)], check=True
        )
        for _ in range(asked.turns):
            for situation in situations:
                with other_program() if situation == "beside" else contextlib.nullcontext():
                    for way, variables in WAYS.items():
                        group = asked.group if situation == "quota" else None
                        speeds[situation][way].append(speed(Path(scratch), variables, group, asked.seconds))
    rows = [
        {
            "situation": situation,
            "rows_per_second": {way: round(statistics.median(found)) for way, found in ways.items()},
            "of_torch": {
                way: round(statistics.median(a / b for a, b in zip(found, ways["torch"], strict=True)), 2)
                for way, found in ways.items()
            },
            "turns": {way: [round(one) for one in found] for way, found in ways.items()},
        }
        for situation, ways in speeds.items()
    ]
    for row in rows:
        print(json.dumps(row))
    facts = {"command": command(), "machine": machine(), "turns": asked.turns, "rows": asked.rows}
    asked.out.write_text(json.dumps(facts | {"results": rows}, indent=1) + "\n")


@contextlib.contextmanager
def other_program() -> Iterator[None]:
    """Let a program compute beside, in a session of its own, as one of another terminal does."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as busy:
        try:
            yield
        finally:
            busy.kill()


def speed(scratch: Path, variables: dict[str, str], group: Path | None, seconds: float) -> float:
    """Train once and return the median of the rows per second in its log."""
    out = scratch / "run"
    fit = [*CLICKSMITH, "fit", f"{scratch}/data/train.csv", "--valid", f"{scratch}/data/valid.csv"]
    fit += ["--schema", f"{scratch}/data/schema.json", "--out", str(out), "--overwrite", "--train.epochs", "1"]
    if group:
        fit = ["sh", "-c", f"echo $$ > {group}/cgroup.procs; exec {shlex.join(fit)}"]
    others = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "MKL_"))}
    subprocess.run(["rm", "-rf", str(out)], check=True)
    with subprocess.Popen(fit, env=others | variables, start_new_session=True, **SILENT) as training:
        try:
            training.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(training.pid, signal.SIGKILL)
    log = out / "log.jsonl" if (out / "log.jsonl").exists() else out / "training" / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return statistics.median(line["rows_per_second"] for line in lines if line["kind"] == "step")


if __name__ == "__main__":
    main()
