"""The same tuning budget for every model: as many trials on the validation rows, in the space that one rule gives.

Successive halving, twice: of the trials the best third goes on at each rung, and of those that came to their end the
best third is trained again with another seed. The best mean of both seeds is chosen, not the luckiest trial.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
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
from clicksmith.tuning.study import REDUCTION, Pruner, Sampler, open_study

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
    seed: int = SEEDS[0]

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
    """From the number of a trial to its configuration under the second seed."""

    one: Contestant
    finalists: Mapping[int, Found]
    seed: int = SEEDS[1]

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
class _Rows:
    """Where everything of a search lies, and how it is run."""

    one: Contestant
    data: BenchData
    folder: Path
    jobs: int
    say: Say

    def stage(
        self, name: str, plan: Resolves, space: Space, sampler: Sampler, pruner: Pruner, trials: int | None
    ) -> Tuned:
        """Run the trials that a stage lacks; return all of it. Raises UsageError: its folder holds another search."""
        one, folder = self.one, SearchFolder(self.folder / name)
        record = SearchRecord(
            model=one.title,
            space=msgspec.to_builtins(space),
            options=to_plain({**one.options, **one.set}),
            settings=msgspec.to_builtins(_settings(one, plan.seed)),
            schema=self.data.schema,
            data=self.data.checksums,
            split=self.data.split,
            seed=plan.seed,
            sampler=sampler,
            pruner=pruner,
        )
        folder.enter(record)
        study = open_study(folder.journal, pruner, one.settings.epochs)
        known = sum(is_trial(trial) and not is_lost(trial) for trial in study.get_trials(deepcopy=False))
        if trials is not None and known > trials:
            raise UsageError(
                f"'{folder.path}' holds a search of {known} trials, and --tune {trials} asks for fewer; give as many, "
                "or another --results."
            )
        Search(
            folder=folder,
            study=study,
            plan=plan,
            space=space,
            sampler=sampler,
            trials=trials,
            stores={part: self.data.stores[part] for part in ("train", "valid")},
            models=one.files,
            say=lambda text: self.say(f"{one.title} {text}"),
        ).run(self.jobs, apart=True)
        found = tuned_of(folder, study, record, space, one.settings.monitor)
        write_results(folder, found)
        write_page(folder, record, found, space)
        return found


def search(one: Contestant, data: BenchData, results: Path, trials: int, *, jobs: int, say: Say) -> Contestant:
    """Return the contestant with the best of so many configurations; goes on with what an earlier search has done.

    Trials have the contestant's epochs and run in processes of their own; those that fall behind are given up, but of
    trees, which are all grown. Test rows have no part in it.

    Raises UsageError: no trial finished, or the folder holds another search.
    """
    space, rows = _space(one), _Rows(one, data, results / FOLDER / one.title, jobs, say)
    pruner: Pruner = "none" if isinstance(one.spec, Trees) else "asha"
    say(f"{one.title}: {trials} trials over {len(space)} parameters, {jobs} at once")
    first = rows.stage("", _Plan(one), space, SAMPLER, pruner, trials)
    stages, scores = [first], {trial.number: (trial.score or 0.0,) for trial in first.trials}
    finalists = finalists_of(first)
    if len(finalists) > 1:
        say(f"{one.title}: the best {len(finalists)} again, with another seed")
        again: Space = {FINALIST: Choice(tuple(finalists))}
        second = rows.stage(f"again_of_{trials}", _Again(one, finalists), again, "grid", "none", None)
        second.best  # noqa: B018 - raises where none has finished
        whole = {t.values[FINALIST]: t.score for t in second.trials if t.state == "complete" and t.score is not None}
        finalists = {number: finalists[number] for number in whole}
        stages, scores = [first, second], {number: (*scores[number], score) for number, score in whole.items()}
    means = {number: sum(scores[number]) / len(scores[number]) for number in finalists}
    best = finalists[max(means, key=lambda number: (means[number], -number))]
    spec, settings = from_plain(best.spec), msgspec.convert(best.settings, TrainSettings)
    say(f"{one.title}: trial {best.number} is best, {one.settings.monitor} {means[best.number]:.5f} on valid")
    searched = Searched(
        trials=trials, space=msgspec.to_builtins(space), sampler=SAMPLER, pruner=pruner, number=best.number,
        values=to_plain(best.values), seeds=SEEDS[: len(scores[best.number])], scores=scores[best.number],
        seconds=sum(trial.seconds for stage in stages for trial in stage.trials),
    )  # fmt: skip
    return replace(one, spec=spec, settings=msgspec.structs.replace(settings, seed=0), searched=searched)


def finalists_of(found: Tuned) -> dict[int, Found]:
    """Return the best third of the trials, at least two, of those that came to their end; best first.

    Raises UsageError: none has.
    """
    found.best  # noqa: B018 - raises
    ended = [trial for trial in found.trials if trial.state == "complete"]
    return {trial.number: trial for trial in ended[: max(2, -(-len(found.trials) // REDUCTION))]}


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


def _settings(one: Contestant, seed: int) -> TrainSettings:
    return msgspec.structs.replace(one.settings, seed=seed)
