"""A trial in a process of its own, so that a crash there ends one trial and not the search: lines of JSON on pipes.

in   the task                    out  {"scores": [...]}   after each evaluation
in   true or false: give up?     out  {"outcome": {...}}  at the end, or {"full": "..."}
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

import msgspec
import torch

from clicksmith.errors import StorageError
from clicksmith.forks import Piped
from clicksmith.models.register import load_user_models
from clicksmith.tuning.trial import Outcome, Prune, Task, run_trial


class _Line(msgspec.Struct, frozen=True):
    """What a worker says."""

    scores: list[float] = []
    outcome: Outcome | None = None
    full: str = ""
    """Why a file could not be written, which is no fault of the configuration and ends the search."""


class Worker:
    """A trial that runs in a process of its own, with one torch thread."""

    def __init__(self, task: Task, log: Path) -> None:
        self._log = log
        # A session of its own: Ctrl-C goes to the search, which asks its workers to end once.
        with log.open("wb") as errors:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self._process = Piped("clicksmith.tuning.worker", errors=errors, environment=environment)
        self._send(msgspec.json.encode(task))

    def wait(self, prune: Prune) -> Outcome | None:
        """Answer what the worker asks until it ends; None if it was interrupted.

        Raises:
            StorageError: the trial could not write a file.
        """
        for line in self._process.stdout:
            found = msgspec.json.decode(line, type=_Line)
            if found.outcome is not None or found.full:
                self._close()
                if found.full:
                    raise StorageError(found.full)
                return found.outcome
            self._send(msgspec.json.encode(prune(found.scores)))
        code = self._close()
        if code in (130, -signal.SIGINT):
            return None
        last = (self._log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        why = f"ended by signal {-code}, most likely out of memory" if code < 0 else f"ended with status {code}"
        return Outcome(state="failed", error=f"the process of the trial {why}. {last}".strip())

    def interrupt(self) -> None:
        """Ask the worker to write a checkpoint and end."""
        self._process.send_signal(signal.SIGINT)

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, which `wait` finds out
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _close(self) -> int:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self._process.wait()


def main() -> int:
    """Run the trial that stdin names; what libraries print goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _run(sys.stdin, out)
    except KeyboardInterrupt:
        return 130
    return 0


def _run(asked: TextIO, out: TextIO) -> None:
    torch.set_num_threads(1)
    task = msgspec.json.decode(asked.readline(), type=Task)
    for path in task.models:
        load_user_models(path)

    def say(line: _Line) -> None:
        out.write(msgspec.json.encode(line).decode() + "\n")
        out.flush()

    def prune(scores: list[float]) -> bool:
        say(_Line(scores=scores))
        answer = asked.readline()
        if not answer:
            raise KeyboardInterrupt  # the search is gone; the next one goes on from the checkpoint
        return msgspec.json.decode(answer, type=bool)

    try:
        say(_Line(outcome=run_trial(task, prune)))
    except StorageError as error:
        say(_Line(full=str(error)))


if __name__ == "__main__":
    raise SystemExit(main())
