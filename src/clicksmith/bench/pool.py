"""Trials side by side, a process each, as many as memory and cores allow; one that dies takes no other with it."""

import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

import msgspec

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


@dataclass(slots=True)
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
    waiting, running = list(jobs), dict[int, _Running]()
    events: queue.SimpleQueue[tuple[int, Ended]] = queue.SimpleQueue()
    share = {id(job): min(memory, max(memory // at_once, need(job))) for job in jobs}
    try:
        while waiting or running:
            held = sum(share[id(one.job)] for one in running.values())
            while waiting and len(running) < at_once and (not running or held + share[id(waiting[0])] <= memory):
                job = waiting.pop(0)
                one = _start(msgspec.structs.replace(job, memory=share[id(job)]), job)
                held += share[id(job)]
                running[one.process.pid] = one
                threading.Thread(target=_watch, args=(one, events), daemon=True).start()
            number, how = events.get()
            del running[number]
            if how.stop:
                raise StorageError(how.stop)
            ended(how)
    finally:
        for one in running.values():
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


def _watch(one: _Running, events: "queue.SimpleQueue[tuple[int, Ended]]") -> None:
    """Read what a process says until it ends, and hand on how it did."""
    last = Told()
    for line in one.process.stdout:
        try:
            last = msgspec.json.decode(line, type=Told)
        except msgspec.DecodeError:
            continue  # a library's own message
    status = one.process.wait()
    failure = last.failure if last.done or last.failure or last.stop else _death(status, one.errors)
    one.errors.close()
    events.put((one.process.pid, Ended(one.job, time.monotonic() - one.began, failure, last.stop)))


def _death(status: int, errors: IO[bytes]) -> Failure:
    """Return what is known of a process that ended without a word."""
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    if status == -signal.SIGKILL:
        return Failure(kind="out of memory", message="the system killed the process (SIGKILL): most likely no memory")
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return Failure(kind="crashed", message=f"{name}: {lines[-1] if lines else 'no message'}"[:2000])
