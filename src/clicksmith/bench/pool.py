"""Trials side by side, a process each, as many as memory and cores allow; one that dies takes no other with it."""

import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from clicksmith.bench.attempt import scored_before
from clicksmith.bench.job import Job, Told
from clicksmith.bench.row import Failure
from clicksmith.errors import StorageError
from clicksmith.forks import Piped


@dataclass(frozen=True, slots=True)
class Ended:
    """How a trial's process ended."""

    job: Job
    seconds: float
    failure: Failure | None = None
    stop: str = ""


@dataclass(slots=True, eq=False)
class _Running:
    job: Job
    process: Piped
    errors: IO[bytes]
    began: float
    epoch: int = 0


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job],
    *,
    at_once: int,
    memory: int,
    need: Callable[[Job], int],
    ended: Callable[[Ended], None],
) -> None:
    """Run every job, in order, each in a process; call `ended` as they end.

    A trial may hold its share of the memory, or what it needs if that is more; one that needs more than there is runs
    alone. Raises StorageError if a trial could not write (a full disk): the others are ended too.
    """
    waiting, running = list(jobs), set[_Running]()
    events: queue.SimpleQueue[tuple[_Running, Ended]] = queue.SimpleQueue()
    share = {id(job): min(memory, max(memory // at_once, need(job))) for job in jobs}
    try:
        while waiting or running:
            held = sum(share[id(one.job)] for one in running)
            while waiting and len(running) < at_once and (not running or held + share[id(waiting[0])] <= memory):
                job = waiting.pop(0)
                one = _start(msgspec.structs.replace(job, memory=share[id(job)]), job)
                held += share[id(job)]
                running.add(one)
                threading.Thread(target=_watch, args=(one, events), daemon=True).start()
            one, how = events.get()
            running.remove(one)
            if how.stop:
                raise StorageError(how.stop)
            ended(how)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()


def _start(told: Job, job: Job) -> _Running:
    errors = tempfile.TemporaryFile()  # noqa: SIM115 — closed by the thread that watches the process
    threads = {"OMP_NUM_THREADS": str(job.threads), "MKL_NUM_THREADS": str(job.threads)}
    process = Piped("clicksmith.bench.trial", errors=errors, environment={**os.environ, **threads})
    try:
        process.stdin.write(msgspec.json.encode(told))
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; its exit status says so
    return _Running(job, process, errors, time.monotonic())


def _watch(one: _Running, events: "queue.SimpleQueue[tuple[_Running, Ended]]") -> None:
    """Read what a process says until it ends, and hand on how it did."""
    last = Told()
    for line in one.process.stdout:
        try:
            last = msgspec.json.decode(line, type=Told)
        except msgspec.DecodeError:
            continue  # a library's own message
    status = one.process.wait()
    failure = last.failure if last.done or last.failure or last.stop else _death(status, one)
    one.errors.close()
    events.put((one, Ended(one.job, time.monotonic() - one.began, failure, last.stop)))


def _death(status: int, one: _Running) -> Failure:
    """Return what is known of a process that ended without a word."""
    job, errors = one.job, one.errors
    scored = max(job.test_evaluations, scored_before(Path(job.results) / job.dataset, job.model, job.configuration))
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    if status == -signal.SIGKILL:
        killed = "the system killed the process (SIGKILL): most likely no memory"
        return Failure(kind="out of memory", message=killed, test_evaluations=scored)
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    message = f"{name}: {lines[-1] if lines else 'no message'}"[:2000]
    return Failure(kind="crashed", message=message, test_evaluations=scored)
