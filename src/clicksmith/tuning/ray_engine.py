"""Ray Tune as the engine of a search: it runs the trials, here or on a cluster whose machines share the folder.

What is proposed, when a trial gives up, the journal and the results are those of every search.
"""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# (Ray is an extra that `make test` does not install)

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.errors import StorageError, UsageError
from clicksmith.tuning.search import Asked, Search
from clicksmith.tuning.trial import Outcome, Task, run_trial

try:
    import ray
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher
except ImportError as error:
    raise UsageError(
        "engine='ray' needs Ray Tune, which is not installed; pip install 'clicksmith[ray]' brings it."
    ) from error

QUIET = {"TUNE_DISABLE_SIGINT_HANDLER": "1", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
"""Ctrl-C is the search's; so is what is said."""


def run_with_ray(search: Search, jobs: int) -> None:
    """Run trials until there are enough, `jobs` at once, each in a Ray worker with one CPU.

    Ray is started here, or joined where RAY_ADDRESS names a cluster, whose machines must share the folder.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    started = not ray.is_initialized()
    if started:
        here: dict[str, Any] = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **here)
    proposer = _Proposer(search)
    try:
        tune.run(
            _trial,
            search_alg=proposer,
            scheduler=_Scheduler(proposer),
            num_samples=-1,
            max_concurrent_trials=jobs,
            resources_per_trial={"cpu": 1},
            raise_on_failed_trial=False,
            storage_path=str(search.folder.path.resolve()),
            name="ray",
            verbose=0,
        )
        if proposer.full:
            raise StorageError(proposer.full)
    except BaseException:
        proposer.interrupted()
        raise
    finally:
        shutil.rmtree(search.folder.path / "ray", ignore_errors=True)  # the journal holds what is needed to go on
        if started:
            ray.shutdown()


def _trial(config: dict[str, Any]) -> None:
    """Run a trial in a Ray worker: report the scores after each evaluation, and the outcome at the end."""
    import torch

    from clicksmith.models.register import load_user_models

    torch.set_num_threads(1)
    task = msgspec.json.decode(config["task"], type=Task)
    for path in task.models:
        load_user_models(path)
    scores: list[float] = []

    def told(found: list[float]) -> bool:
        scores[:] = found
        tune.report({"scores": found, "outcome": None})
        return False  # whom the scheduler gives up Ray ends

    try:
        outcome = run_trial(task, told)
    except StorageError as error:
        tune.report({"scores": scores, "outcome": None, "full": str(error)})
        return
    tune.report({"scores": scores, "outcome": msgspec.json.encode(outcome).decode()})


def _absolute(task: Task) -> Task:
    """Return the task for a process in another folder."""
    paths = {name: str(Path(getattr(task, name)).resolve()) for name in ("train", "valid", "folder")}
    return msgspec.structs.replace(task, **paths, models=tuple(str(Path(file).resolve()) for file in task.models))


class _Proposer(Searcher):
    """Hands the search's proposals to Ray, and what came out back to the search."""

    def __init__(self, search: Search) -> None:
        super().__init__(metric="training_iteration", mode="max")  # unused: the search judges
        self._search = search
        self._under_way: dict[str, Asked] = {}
        self._prune: dict[str, Any] = {}
        self._scores: dict[str, list[float]] = {}
        self.full = ""
        """Why a trial could not write a file."""

    def suggest(self, trial_id: str) -> Any:
        """Return the task of the next trial."""
        asked = None if self._search.late or self.full else self._search.propose()
        if asked is None:
            return Searcher.FINISHED
        self._under_way[trial_id], self._prune[trial_id] = asked, self._search.pruning(asked.trial)
        return {"task": msgspec.json.encode(_absolute(asked.task)).decode()}

    def gives_up(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Enter the scores of a trial, and return whether it is to end."""
        if result["outcome"] is not None or not result["scores"] or "full" in result:
            return False
        self._scores[trial_id] = list(result["scores"])
        return bool(self._prune[trial_id](self._scores[trial_id]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Enter what became of a trial."""
        asked = self._under_way.pop(trial_id, None)
        if asked is None:
            return
        if full := (result or {}).get("full"):
            self.full = full
            asked.trial.set_user_attr("interrupted", True)
            asked.held.close()
            return
        text = None if result is None else result.get("outcome")
        if text is not None:
            outcome = msgspec.json.decode(text, type=Outcome)
        elif error:
            outcome = Outcome(state="failed", error="the Ray worker of the trial died, most likely out of memory")
        else:
            outcome = self._pruned(self._scores[trial_id])
            shutil.rmtree(asked.task.folder, ignore_errors=True)
        self._search.finish(asked, outcome)

    def _pruned(self, scores: list[float]) -> Outcome:
        monitor = self._search.plan.resolve({}).settings.monitor
        valid = {monitor: max(scores)} if monitor in ("auc", "gauc") else {}
        return Outcome(state="pruned", score=max(scores), scores=tuple(scores), valid=valid, epochs=len(scores))

    def interrupted(self) -> None:
        """Say of trials under way that they were not to blame."""
        for asked in self._under_way.values():
            asked.trial.set_user_attr("interrupted", True)
            asked.held.close()

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the journal is what a search goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _Scheduler(FIFOScheduler):
    """Ends the trials that the search gives up."""

    def __init__(self, proposer: _Proposer) -> None:
        super().__init__()
        self._proposer = proposer

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Ask the search."""
        return TrialScheduler.STOP if self._proposer.gives_up(trial.trial_id, result) else TrialScheduler.CONTINUE
