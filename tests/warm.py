"""Commands and scripts of tests, forked from a process that has imported everything: importing takes longer than most.

`conftest.py` begins one such process per test process. `python tests/warm.py clicksmith ...` and `... -c CODE ...` hand
their streams, folder and environment to a fork of it. Tests of what is imported, and when, begin Python anew.
"""

import os
import signal
import sys
import types
from pathlib import Path
from typing import TextIO

from clicksmith.forks import Forked, start

MODULES = (
    "clicksmith.bench.trial", "clicksmith.bench.tuned", "clicksmith.tuning.worker", "clicksmith.cli.fit",
    "clicksmith.search", "clicksmith.serve", "clicksmith.estimator", "torch._dynamo", "optuna.importance", "warm",
)  # fmt: skip


def command(*arguments: str) -> list[str]:
    """Return what runs `clicksmith` or `-c CODE` warm, for `subprocess`."""
    return [sys.executable, __file__, *arguments]


def begin(*arguments: str) -> tuple[Forked, TextIO]:
    """Begin `clicksmith ...` or `-c CODE ...` without a process between, and return it with what it says on stderr.

    Signals arrive, and who waits for it waits until it is gone.
    """
    read, write = os.pipe()
    with Path(os.devnull).open("r+") as null, os.fdopen(write):
        streams = (null.fileno(), null.fileno(), write)
        return start("warm", *arguments, streams=streams, environment=os.environ), os.fdopen(read, encoding="utf-8")


def main() -> int:
    """Be the command or script, in a fork."""
    what, *arguments = sys.argv[1:]
    if what == "clicksmith":
        from clicksmith.cli.main import main as command

        return command(arguments)
    code, *arguments = arguments
    sys.argv = ["-c", *arguments]
    sys.path.insert(0, "")
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), module.__dict__)  # noqa: S102 — what `python -c` does
    return 0


if __name__ == "__main__":
    process = start("warm", *sys.argv[1:], streams=(0, 1, 2), environment=os.environ)
    signal.signal(signal.SIGINT, lambda number, _: process.send_signal(number))
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    status = process.wait()
    if status < 0:
        os.kill(os.getpid(), -status)
    raise SystemExit(status)
