"""What a search has found, as values and as files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.errors import UsageError
from clicksmith.parts import from_plain
from clicksmith.run import write_json
from clicksmith.trees.spec import Trees
from clicksmith.tuning.folder import SearchFolder, SearchRecord
from clicksmith.tuning.search import is_lost, is_trial
from clicksmith.tuning.space import Space
from clicksmith.tuning.study import FrozenTrial, Study, importances_of, values_of
from clicksmith.tuning.trial import Outcome


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One trial."""

    number: int
    state: str
    """complete, pruned, failed, interrupted, or running."""
    values: dict[str, Any]
    """What was searched, by `model.NAME` and `train.NAME`."""
    score: float | None = None
    """Of the monitored metric at the best evaluation; larger is better."""
    valid: dict[str, float] = {}
    scores: tuple[float, ...] = ()
    """By evaluation."""
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""
    same: tuple[int, ...] = ()
    """Numbers of proposals that were this configuration again, and were not run."""
    digest: str = ""
    """Of the effective configuration."""
    options: dict[str, Any] = {}
    """Of the model's function, searched and fixed."""
    changes: dict[str, Any] = {}
    """Settings of training, searched and fixed."""
    settings: dict[str, Any] = {}
    """All settings of training."""
    spec: dict[str, Any] = {}


@dataclass(frozen=True)
class Tuned:
    """What a search has found."""

    path: Path
    model: str
    monitor: str
    trials: tuple[Found, ...]
    """Best first; then those that were pruned, failed, or are under way."""
    importances: dict[str, float]
    """How much each parameter decides whether a trial is among the best; empty with few trials."""

    @property
    def best(self) -> Found:
        """The best finished trial.

        Raises UsageError: none has finished.
        """
        if self.trials and self.trials[0].state == "complete":
            return self.trials[0]
        failed = [trial for trial in self.trials if trial.state == "failed"]
        what = f"none of {len(self.trials)} trials in '{self.path}' has finished"
        if not failed:
            raise UsageError(f"{what}; search again to go on.")
        raise UsageError(
            f"{what}; trial {failed[0].number}: {failed[0].error.rstrip('.')}. Trials that failed are not run again: "
            "mend their cause, and choose another --out."
        )

    @property
    def fit(self) -> dict[str, Any]:
        """Arguments of `clicksmith.fit` that train the best configuration: model, name, settings.

        Raises UsageError: none has finished, or the model is no backbone.
        """
        spec = from_plain(self.best.spec)
        if isinstance(spec, Trees):
            raise UsageError(
                f"{self.model} is there to compare with, and `fit` does not train it; `bench run` does, with the "
                "options of the best trial in its settings."
            )
        return {"model": spec, "name": self.model, "settings": self.best.settings}

    def count(self, state: str) -> int:
        """Return how many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)


def tuned_of(folder: SearchFolder, study: Study, record: SearchRecord, space: Space, monitor: str) -> Tuned:
    """Return what the journal of a search holds."""
    all_trials = study.get_trials(deepcopy=False)
    same: dict[int, list[int]] = {}
    for trial in all_trials:
        if "same_as" in trial.user_attrs:
            same.setdefault(trial.user_attrs["same_as"], []).append(trial.number)
    found = [_found(t, space, tuple(same.get(t.number, ()))) for t in all_trials if is_trial(t) and not is_lost(t)]
    order = {"complete": 0, "pruned": 1, "running": 2, "interrupted": 3, "failed": 4}
    found.sort(key=lambda t: (order[t.state], -(t.score if t.score is not None else 0.0), t.number))
    return Tuned(folder.path, record.model, monitor, tuple(found), importances_of(study))


def write_results(folder: SearchFolder, tuned: Tuned) -> None:
    """Write trials.json and, once there is one, best.json."""
    write_json(folder.trials, {"importances": tuned.importances, "trials": tuned.trials})
    if tuned.count("complete"):
        write_json(folder.best, {"model": tuned.model, "monitor": tuned.monitor, **msgspec.to_builtins(tuned.best)})


def _found(trial: FrozenTrial, space: Space, same: tuple[int, ...]) -> Found:
    known = trial.user_attrs
    outcome = msgspec.convert(known["outcome"], Outcome) if "outcome" in known else None
    result = {} if outcome is None else msgspec.structs.asdict(outcome)
    return Found(
        number=trial.number,
        values=values_of(trial.params, space) if trial.params.keys() >= space.keys() else {},
        same=same,
        digest=known.get("digest", ""),
        **({"state": "interrupted" if known.get("interrupted") else "running"} | result),
        **known.get("configuration", {}),
    )
