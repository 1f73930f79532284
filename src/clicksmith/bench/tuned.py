"""The same tuning budget for every model: as many trials on the validation rows, in the space that one rule gives.

Successive halving, twice: of the trials the best third goes on at each rung, and of those that came to their end at
most a third of the budget is trained again with another seed. The best mean of both seeds is chosen, not the luckiest
trial.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec

from clicksmith.bench.data import BenchData, Say
from clicksmith.bench.row import Searched, read_row
from clicksmith.bench.settings import Contestant
from clicksmith.errors import ArtifactError, UsageError
from clicksmith.parts import edited, from_plain, to_plain
from clicksmith.train.settings import TrainSettings
from clicksmith.trees.spec import Trees
from clicksmith.tuning.folder import SearchFolder, SearchRecord
from clicksmith.tuning.page import write_page
from clicksmith.tuning.plan import Configuration, Resolves
from clicksmith.tuning.result import Found, Tuned, tuned_of, write_results
from clicksmith.tuning.rules import proposed_space
from clicksmith.tuning.search import Search, is_lost, is_trial
from clicksmith.tuning.space import Choice, Space
from clicksmith.tuning.study import REDUCTION, Pruner, Sampler, Study, open_study

FOLDER = ".tuning"
"""Beside the rows, which have no dot."""
SEEDS = 2026, 2027
"""Of a search and its trials, and of those that are trained again; no row has them."""
SAMPLER = "tpe"
FINALIST = "trial"
"""The one parameter of the second stage: the number of a trial of the first."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """From values to a configuration of one contestant."""

    one: Contestant
    seed: int

    @property
    def function(self) -> Callable[..., object]:
        """What makes the model of options."""
        return self.one.function

    def resolve(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration of values by `model.NAME` and `train.NAME`."""
        parts: dict[str, dict[str, Any]] = {"model": dict(self.one.options), "train": {}}
        for name, value in values.items():
            prefix, _, option = name.partition(".")
            parts[prefix][option] = value
        settings = msgspec.structs.replace(self.one.settings, **parts["train"], seed=self.seed)
        spec = edited(self.one.function(**parts["model"]), self.one.set, "set ")
        return Configuration(parts["model"], parts["train"], spec, settings)


@dataclass(frozen=True, slots=True)
class _Again:
    """From the number of a trial to its configuration under another seed."""

    one: Contestant
    finalists: Mapping[int, Found]
    seed: int

    @property
    def function(self) -> Callable[..., object]:
        """What makes the model of options."""
        return self.one.function

    def resolve(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration of the trial that `FINALIST` names."""
        found = self.finalists[values[FINALIST]]
        settings = msgspec.convert(found.settings | {"seed": self.seed}, TrainSettings)
        return Configuration(found.options, found.changes, from_plain(found.spec), settings)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A search of its own: its folder, its question, and how it is run."""

    one: Contestant
    data: BenchData
    folder: SearchFolder
    plan: Resolves
    space: Space
    sampler: Sampler
    pruner: Pruner

    def enter(self, trials: int | None) -> None:
        """Enter what is asked. Raises UsageError: the folder holds another search, or a longer one."""
        self.folder.enter(self._record())
        known = sum(is_trial(trial) and not is_lost(trial) for trial in self._study().get_trials(deepcopy=False))
        if trials is not None and known > trials:
            raise UsageError(
                f"'{self.folder.path}' holds a search of {known} trials, and --tune {trials} asks for fewer; give as "
                "many, or another --results."
            )

    def run(self, trials: int | None, *, jobs: int, say: Say) -> Tuned:
        """Run the trials that are missing; return all. Raises UsageError: a trial has not ended."""
        one, folder = self.one, self.folder
        Search(
            folder=folder,
            study=self._study(),
            plan=self.plan,
            space=self.space,
            sampler=self.sampler,
            trials=trials,
            stores={part: self.data.stores[part] for part in ("train", "valid")},
            models=one.files,
            say=lambda text: say(f"{one.title} {text}"),
        ).run(jobs, apart=True)
        found = self.found()
        write_results(folder, found)
        write_page(folder, self._record(), found, self.space)
        for trial in found.trials:
            if trial.state in ("running", "interrupted"):
                raise UsageError(
                    f"'{folder.path}': trial {trial.number} was interrupted or still runs in another process; give "
                    "the same command again."
                )
        return found

    def found(self) -> Tuned:
        """Return what is there."""
        return tuned_of(self.folder, self._study(), self._record(), self.space, self.one.settings.monitor)

    def _study(self) -> Study:
        return open_study(self.folder.journal, self.pruner, self.one.settings.epochs)

    def _record(self) -> SearchRecord:
        return SearchRecord(
            model=self.one.title,
            space=msgspec.to_builtins(self.space),
            options=to_plain({**self.one.options, **self.one.set}),
            settings=msgspec.to_builtins(msgspec.structs.replace(self.one.settings, seed=self.plan.seed)),
            schema=self.data.schema,
            data=self.data.checksums,
            split=self.data.split,
            seed=self.plan.seed,
            sampler=self.sampler,
            pruner=self.pruner,
        )


def search(one: Contestant, data: BenchData, results: Path, trials: int, *, jobs: int, say: Say) -> Contestant:
    """Return the contestant with the best of so many configurations; goes on with what an earlier search has done.

    Trials have the contestant's epochs and run in processes of their own; those that fall behind are given up, but of
    trees, which are all grown. Test rows have no part in it.

    Raises UsageError: no trial finished, one was interrupted, or the folder holds another search.
    """
    home, space = results / FOLDER / one.title, _space(one)
    pruner: Pruner = "none" if isinstance(one.spec, Trees) else "asha"
    first = _Stage(one, data, SearchFolder(home), _Plan(one, SEEDS[0]), space, SAMPLER, pruner)
    first.enter(trials)
    folder = SearchFolder(home / f"again_of_{trials}")
    if folder.record.exists():  # which trials are trained again is decided once
        known = {trial.number: trial for trial in first.found().trials}
        numbers = msgspec.json.decode(folder.record.read_bytes(), type=SearchRecord).space[FINALIST]["values"]
        finalists = {number: known[number] for number in numbers}
    else:
        say(f"{one.title}: {trials} trials over {len(space)} parameters, {jobs} at once")
        finalists = finalists_of(first.run(trials, jobs=jobs, say=say), trials)
    say(f"{one.title}: {len(finalists)} of {trials} trials again, with another seed")
    choice: Space = {FINALIST: Choice(tuple(finalists))}
    again = _Stage(one, data, folder, _Again(one, finalists, SEEDS[1]), choice, "grid", "none")
    again.enter(None)
    second = again.run(None, jobs=jobs, say=say)
    scores = {
        trial.values[FINALIST]: (_score(finalists[trial.values[FINALIST]]), _score(trial))
        for trial in second.trials
        if trial.state == "complete"
    }
    if not scores:
        raise UsageError(f"none of the {len(finalists)} best trials in '{home}' finished with another seed as well.")
    means = {number: mean(both) for number, both in scores.items()}
    best = finalists[max(means, key=lambda number: (means[number], -number))]
    spec, settings = from_plain(best.spec), msgspec.convert(best.settings, TrainSettings)
    say(f"{one.title}: trial {best.number} is best, {one.settings.monitor} {means[best.number]:.5f} on valid")
    searched = Searched(
        trials=trials, space=msgspec.to_builtins(space), sampler=SAMPLER, pruner=pruner, number=best.number,
        values=to_plain(best.values), seeds=SEEDS, scores=scores[best.number],
        seconds=sum(trial.seconds for trial in (*first.found().trials, *second.trials)),
    )  # fmt: skip
    return replace(one, spec=spec, settings=msgspec.structs.replace(settings, seed=0), searched=searched)


def finalists_of(found: Tuned, trials: int) -> dict[int, Found]:
    """Return those that came to their end, best first: at most a third of the budget, or two where that is more.

    Raises UsageError: none has.
    """
    most = max(2, -(-trials // REDUCTION))
    ended = [found.best, *found.trials[1:most]]
    return {trial.number: trial for trial in ended if trial.state == "complete"}


def _score(trial: Found) -> float:
    assert trial.score is not None  # of all that came to their end
    return trial.score


def budget(rows: Path, trials: int) -> None:
    """Raise UsageError if there are rows of a search of another number of trials: its best would not be theirs."""
    for path in sorted(rows.glob("*.json")):
        try:
            searched = read_row(path).searched
        except ArtifactError:
            continue  # reading all rows names it
        if searched is not msgspec.UNSET and searched.trials != trials:
            raise UsageError(
                f"'{path}' has the best of {searched.trials} trials, and --tune {trials} asks for another budget; give "
                f"--tune {searched.trials}, or another --results."
            )


def _space(one: Contestant) -> Space:
    """Return what is searched: what the rules propose, without what is given."""
    fixed = {f"model.{name}" for name in one.options} | {f"train.{name}" for name in one.given}
    found = proposed_space(one.function, one.settings)
    return {name: dimension for name, dimension in found.items() if name not in fixed}
