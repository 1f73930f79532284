"""One trial in a process of its own: train, select on validation rows, score the test rows once, write the row.

`python -m clicksmith.bench.trial` reads a job as JSON from stdin and says on stdout, a line of JSON each, how far it is
and how it ended. Nothing is shared with other trials.
"""

import resource
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch._dynamo  # pyright: ignore[reportUnusedImport] — counting operations brings it, for seconds: once for all
from numpy.typing import NDArray

from clicksmith.bench.attempt import Attempt, Spent
from clicksmith.bench.cost import peak_memory, provenance
from clicksmith.bench.fitted import Fitted, fit_torch, fit_trees
from clicksmith.bench.job import Job, Told
from clicksmith.bench.locked import LockedTest
from clicksmith.bench.row import (
    Cost,
    Failure,
    FailureKind,
    Measured,
    Outcome,
    Row,
    write_array,
    write_row,
)
from clicksmith.encode.store import Store
from clicksmith.errors import ClicksmithError, DataError, DivergedError, StorageError
from clicksmith.evaluate.evaluation import evaluate_scored
from clicksmith.evaluate.gauc import gauc_of
from clicksmith.evaluate.scored import Scored, scored
from clicksmith.models.register import load_user_models, with_place
from clicksmith.parts import from_plain
from clicksmith.train.progress import Plan, Progress, Silent, StepState
from clicksmith.trees.spec import Trees

METRICS = ("auc", "logloss", "normalised_entropy", "brier", "predicted_over_observed", "ece")
GROUPED = ("gauc",)


def run_trial(job: Job, test: LockedTest, attempt: Attempt, progress: Progress | None = None) -> Row:
    """Run a trial in this process and write its row and its predictions; return the row.

    One that was killed goes on from the checkpoint in `attempt`, to the same weights (trees are grown anew).

    Raises what keeps it from an outcome; `test` knows then whether test rows were scored.
    """
    for file in job.files:
        load_user_models(file)
    rows, valid = Store.open(job.stores["train"]), Store.open(job.stores["valid"])
    spec, progress = from_plain(job.configuration.spec), progress or Silent()
    if isinstance(spec, Trees):
        fitted = fit_trees(spec, job.configuration, rows, valid, progress, threads=job.threads)
    else:
        fitted = fit_torch(spec, job.configuration, rows, valid, progress, folder=attempt.folder)
    attempt.note(test.evaluations + 1)
    logits, store = test.score(fitted.score)
    measured = measure(store, logits)
    folder = Path(job.results) / job.dataset / job.model
    stored = np.clip(logits, -65504, 65504).astype(np.float16)
    outcome = Outcome(
        test=measured,
        valid=fitted.valid,
        cost=_cost(fitted, attempt.spent(test.evaluations)),
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        reason=fitted.reason,
        curve=fitted.curve,
        test_evaluations=test.evaluations,
        predictions=write_array(folder / f"{job.configuration.seed}.npy", stored),
        labels=job.labels,
    )
    row = Row(
        name=job.configuration.name,
        dataset=job.dataset,
        model=job.model,
        seed=job.configuration.seed,
        configuration=job.configuration,
        made_by=provenance(fitted.device, packages=fitted.packages, files=job.files),
        outcome=outcome,
        searched=job.searched,
    )
    write_row(Path(job.results), row)
    return row


def measure(store: Store, logits: NDArray[np.float32]) -> Measured:
    """Return the test metrics, those of groups where the rows have groups."""
    rows: Scored = scored(store.targets["labels"][:, 0], logits=logits, groups=store.targets.get("group"))
    found = evaluate_scored(rows, names=(*METRICS, *GROUPED) if _grouped(rows) else METRICS)
    return Measured(
        rows=found.rows, clicks=found.clicks, level=found.level, values=found.values, reliability=found.reliability
    )


def _grouped(rows: Scored) -> bool:
    """Say whether metrics of groups mean something: where a user has one test row, none has a click and none."""
    try:
        gauc_of(rows)
    except DataError:
        return False
    return True


def _cost(fitted: Fitted, spent: Spent) -> Cost:
    return Cost(
        parameters=fitted.embedding + fitted.dense,
        embedding=fitted.embedding,
        dense=fitted.dense,
        flops_per_row=fitted.flops_per_row,
        seconds_to_best=fitted.seconds_to_best,
        seconds=spent.seconds,
        cpu_seconds=spent.cpu_seconds,
        rows_per_second=fitted.rows_per_second,
        peak_memory=peak_memory(fitted.device),
        latency_ms=fitted.latency_ms,
        latency_p99_ms=fitted.latency_p99_ms,
    )


class _Lines:
    """Training progress as lines on stdout, and noted beside the checkpoint."""

    def __init__(self, attempt: Attempt, test: LockedTest) -> None:
        self._attempt, self._test = attempt, test

    def started(self, plan: Plan) -> None:
        """Say nothing."""

    def stepped(self, state: StepState) -> None:
        """Say nothing."""

    def evaluated(self, entry: dict[str, Any]) -> None:
        """Say which epoch is done."""
        self._attempt.note(self._test.evaluations)
        say(Told(epoch=entry["epoch"]))

    def noted(self, text: str) -> None:
        """Say nothing: the figures say it."""

    def finished(self, reason: str) -> None:
        """Say nothing."""


def say(told: Told) -> None:
    """Write a line to the process that started this one."""
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


def failure_of(error: BaseException, test_evaluations: int) -> Failure:
    """Return what a row says of an error."""
    text = " ".join(str(error).split())[:2000]
    kind: FailureKind
    if isinstance(error, DivergedError):
        kind = "diverged"
    elif isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _no_memory(text):
        kind = "out of memory"
    elif isinstance(error, ClicksmithError):
        kind = "refused"
    else:
        kind, text = "crashed", with_place(error)[:2000]
    return Failure(kind=kind, message=text, test_evaluations=test_evaluations)


def _no_memory(text: str) -> bool:
    words = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "bad allocation")
    return any(word in text.lower() for word in words)


def _limit(job: Job) -> None:
    """Hold no more memory than was given (Linux)."""
    if sys.platform == "linux" and job.memory and job.configuration.settings["device"] == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))  # CUDA reserves far more than it holds
    torch.set_num_threads(job.threads)


def main() -> int:
    """Run the job on stdin."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    _limit(job)
    try:
        return _attempted(job)
    except StorageError as error:
        say(Told(stop=str(error)))
        return 1


def _attempted(job: Job) -> int:
    """Make one attempt, and say how it ended; return the exit status. Raises StorageError: the disk is full."""
    place = Path(job.results) / job.dataset
    attempt = Attempt(place, job.model, job.configuration, threads=job.threads, files=job.files)
    before = max(job.test_evaluations, attempt.before.test_evaluations)
    test = LockedTest(Path(job.stores["test"]), before=before)
    try:
        run_trial(job, test, attempt, _Lines(attempt, test))
    except StorageError:
        raise
    except Exception as error:
        attempt.over()
        say(Told(failure=failure_of(error, test.evaluations)))
        return 1
    attempt.over()
    say(Told(done=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
