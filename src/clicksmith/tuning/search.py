"""The search: propose, run, tell, until there are enough trials; any number of processes at once, in one folder.

A proposal is made while the folder is held, so that no configuration is run twice. A trial's own folder is held while
it runs: one that is under way in the journal and held by nobody was killed, and is proposed again.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from inspect import signature
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from clicksmith.errors import ClicksmithError, StorageError
from clicksmith.files import locked
from clicksmith.identity import digest
from clicksmith.parts import to_plain
from clicksmith.tuning.folder import SearchFolder
from clicksmith.tuning.plan import Configuration, Resolves
from clicksmith.tuning.space import Space, grid_of
from clicksmith.tuning.study import (
    FrozenTrial,
    Sampler,
    Study,
    Trial,
    TrialState,
    distributions_of,
    params_of,
    sampler_of,
    values_of,
)
from clicksmith.tuning.trial import Outcome, Task, run_trial
from clicksmith.tuning.worker import Worker

MISSES = 50
"""A search ends when so many proposals in a row were configurations that had been tried."""
DEATHS = 3
"""A trial whose process died so often is not tried again."""
POLL = 0.2
"""Seconds between two looks at the processes of trials."""
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Asked:
    """A trial that is to be run, and what is held until it is finished."""

    trial: Trial
    task: Task
    folder: Path
    held: ExitStack


@dataclass
class Search:
    """A search in a folder; see `run`."""

    folder: SearchFolder
    study: Study
    plan: Resolves
    space: Space
    sampler: Sampler
    trials: int | None
    """How many different configurations in all; None: the whole grid."""
    stores: dict[str, Path]
    models: tuple[str, ...]
    say: Callable[[str], None]
    deadline: float = float("inf")
    """No trial begins after this point of the monotonic clock."""
    _stopping: bool = False
    _workers: set[Worker] = field(default_factory=set["Worker"])
    _guard: Lock = field(default_factory=Lock)

    def run(self, jobs: int, *, apart: bool = False) -> None:
        """Run trials until there are enough: here, or each in a process of its own (where `jobs` is more than 1)."""
        if jobs == 1 and not apart:
            self._go_on(self._here)
            return
        with ThreadPoolExecutor(jobs) as pool:
            going = [pool.submit(self._go_on, self._there) for _ in range(jobs)]
            try:
                while wait(going, timeout=POLL, return_when=FIRST_EXCEPTION).not_done:
                    pass  # in short waits: polars' signal handler restarts a long one, and Ctrl-C would be late
                for one in going:
                    one.result()
            except BaseException:
                self._stop()
                raise

    @property
    def late(self) -> bool:
        """Whether no trial begins any more."""
        return time.monotonic() >= self.deadline

    def propose(self) -> Asked | None:
        """Return the next trial, or None if there are enough."""
        with self._guard, locked(self.folder.path, wait=True):
            for _ in count() if self.sampler == "grid" else range(MISSES):
                self._bury()
                known = self.study.get_trials(deepcopy=False)
                if self._enough(known):
                    return None
                point = self._next_point(known)
                if point is not None:
                    self.study.enqueue_trial(point)
                elif self.sampler == "grid" and not any(trial.state == TrialState.WAITING for trial in known):
                    return None
                number = sum(not is_lost(trial) for trial in known)
                self.study.sampler = sampler_of(self.sampler, self.plan.seed, number)
                asked = self._claimed(self.study.ask(distributions_of(self.space)), known)
                if asked is not None:
                    return asked
        self.say(f"the last {MISSES} proposals were configurations that had been tried; the space has few others left")
        return None

    def finish(self, asked: Asked, outcome: Outcome) -> None:
        """Enter what became of a trial."""
        with self._guard:
            self._tell(asked.trial, outcome)
        asked.held.close()
        self.say(_line(asked.trial.number, outcome))

    def _go_on(self, runs: Callable[[Asked], Outcome | None]) -> None:
        while not self._stopping and not self.late:
            asked = self.propose()
            if asked is None:
                return
            with asked.held:
                try:
                    outcome = runs(asked)
                except (KeyboardInterrupt, StorageError):
                    asked.trial.set_user_attr("interrupted", True)
                    raise
                if outcome is None:
                    asked.trial.set_user_attr("interrupted", True)
                    return
                self.finish(asked, outcome)

    def _here(self, asked: Asked) -> Outcome:
        return run_trial(asked.task, self.pruning(asked.trial))

    def _there(self, asked: Asked) -> Outcome | None:
        with self._guard:
            if self._stopping:
                return None
            worker = Worker(asked.task, asked.folder / "worker.log")
            self._workers.add(worker)
        outcome = worker.wait(self.pruning(asked.trial))
        with self._guard:
            self._workers.discard(worker)
        return outcome

    def _stop(self) -> None:
        with self._guard:
            self._stopping = True
            for worker in self._workers:
                worker.interrupt()

    def pruning(self, trial: Trial) -> Callable[[list[float]], bool]:
        """Return what reports the best score so far after each evaluation, and asks whether to go on."""
        told = 0

        def prune(scores: list[float]) -> bool:
            nonlocal told
            with self._guard:
                for step in range(told, len(scores)):  # several where a killed trial goes on
                    told = step + 1
                    trial.report(max(scores[:told]), told)
                    if trial.should_prune():
                        return True
                return False

        return prune

    def _bury(self) -> None:
        """Fail the trials of killed processes, and put what they tried in front of the queue."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            found = trial.user_attrs.get("digest")
            if found is None or not self._held(found):
                self.study.tell(trial.number, state=TrialState.FAIL)
                if found is not None:
                    self.study.enqueue_trial(trial.params)

    def _held(self, found: str) -> bool:
        """Return whether a process runs this configuration: the search's own, or a worker that outlived it."""
        folder = self.folder.trial(found)
        with ExitStack() as held:
            try:
                held.enter_context(locked(folder))
                held.enter_context(locked(folder / "training"))
            except StorageError:
                return True
        return False

    def _enough(self, known: list[FrozenTrial]) -> bool:
        return self.trials is not None and sum(is_trial(trial) for trial in known) >= self.trials

    def _next_point(self, known: list[FrozenTrial]) -> dict[str, Any] | None:
        """Return what is tried next without asking the sampler: the defaults first, or the next point of the grid."""
        if any(trial.state == TrialState.WAITING for trial in known):
            return None
        if self.sampler != "grid":
            return params_of(self._defaults(), self.space) if not known else None
        tried = {trial.user_attrs.get("point") for trial in known if not is_lost(trial)}
        for point in grid_of(self.space):
            if _name(params_of(point, self.space)) not in tried:
                return params_of(point, self.space)
        return None

    def _defaults(self) -> dict[str, Any]:
        """Return the published options and the settings by data size, so that every search holds its baseline."""
        asked = self.plan.resolve({})
        options = {name: p.default for name, p in signature(self.plan.function).parameters.items()} | asked.options
        found = {f"model.{name}": value for name, value in options.items()}
        found |= {f"train.{name}": value for name, value in msgspec.structs.asdict(asked.settings).items()}
        return {name: found[name] for name in self.space}

    def _claimed(self, trial: Trial, known: list[FrozenTrial]) -> Asked | None:
        """Return the trial ready to run; None if it need not be: it was tried before, or cannot be made."""
        trial.set_user_attr("point", _name(trial.params))
        try:
            configuration = self.plan.resolve(values_of(trial.params, self.space))
        except ClicksmithError as error:
            trial.set_user_attr("digest", digest(trial.params))
            self._tell(trial, Outcome(state="failed", error=f"{type(error).__name__}: {error}"))
            return None
        same = [t for t in known if t.user_attrs.get("digest") == configuration.digest and not is_lost(t)]
        if same:
            trial.set_user_attr("same_as", same[0].number)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr("digest", configuration.digest)
        trial.set_user_attr("configuration", _plain(configuration))
        deaths = [t for t in known if t.user_attrs.get("digest") == configuration.digest and died(t)]
        if len(deaths) >= DEATHS:
            self._tell(trial, Outcome(state="failed", error=f"its process was killed {DEATHS} times"))
            return None
        folder = self.folder.trial(configuration.digest)
        held = ExitStack()
        held.enter_context(locked(folder))
        task = Task(
            spec=to_plain(configuration.spec),
            settings=configuration.settings,
            train=str(self.stores["train"]),
            valid=str(self.stores["valid"]),
            folder=str(folder / "training"),
            models=self.models,
        )
        return Asked(trial, task, folder, held)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        trial.set_user_attr("outcome", msgspec.to_builtins(outcome))
        self.study.tell(trial, outcome.score if outcome.state == "complete" else None, state=STATES[outcome.state])


def is_lost(trial: FrozenTrial) -> bool:
    """Return whether a trial ended without outcome, because it was interrupted or its process was killed."""
    over = trial.state == TrialState.FAIL
    return over and "outcome" not in trial.user_attrs and "same_as" not in trial.user_attrs


def died(trial: FrozenTrial) -> bool:
    """Return whether a trial was killed, and not merely interrupted."""
    return is_lost(trial) and not trial.user_attrs.get("interrupted", False)


def is_trial(trial: FrozenTrial) -> bool:
    """Return whether a trial is a configuration of its own, under way or finished."""
    return trial.state != TrialState.WAITING and not is_lost(trial) and "same_as" not in trial.user_attrs


def _name(params: dict[str, Any]) -> str:
    return digest(params)[:16]


def _plain(configuration: Configuration) -> dict[str, Any]:
    return {
        "options": to_plain(configuration.options),
        "changes": msgspec.to_builtins(configuration.changes),
        "settings": msgspec.to_builtins(configuration.settings),
        "spec": to_plain(configuration.spec),
    }


def _line(number: int, outcome: Outcome) -> str:
    if outcome.state == "failed":
        return f"trial {number}: failed, {outcome.error}"
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in outcome.valid.items())
    return f"trial {number}: {outcome.state}, {outcome.epochs} epochs, {outcome.seconds:.0f} s, valid {metrics}"
