"""The same tuning budget for every model: as many trials on the validation rows, in the space that one rule gives."""

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
from clicksmith.tuning.folder import SearchFolder, SearchRecord
from clicksmith.tuning.page import write_page
from clicksmith.tuning.plan import Configuration
from clicksmith.tuning.result import tuned_of, write_results
from clicksmith.tuning.rules import proposed_space
from clicksmith.tuning.search import Search, is_lost, is_trial
from clicksmith.tuning.space import Space
from clicksmith.tuning.study import open_study

FOLDER = ".tuning"
"""Beside the rows, which have no dot."""
SEED = 2026
"""Of every search and its trials; no row has it."""
SAMPLER = "tpe"


@dataclass(frozen=True, slots=True)
class _Plan:
    """From values to a configuration of one contestant."""

    one: Contestant
    seed: int = SEED

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


def search(one: Contestant, data: BenchData, results: Path, trials: int, *, jobs: int, say: Say) -> Contestant:
    """Return the contestant with the best of so many configurations; goes on with what an earlier search has done.

    Every trial is trained to its own end, with the contestant's epochs, in a process of its own; test rows have no
    part in it. Raises UsageError: no trial finished, or the folder holds another search.
    """
    plan, space, folder = _Plan(one), _space(one), SearchFolder(results / FOLDER / one.title)
    record = SearchRecord(
        model=one.title,
        space=msgspec.to_builtins(space),
        options=to_plain({**one.options, **one.set}),
        settings=msgspec.to_builtins(plan.resolve({}).settings),
        schema=data.schema,
        data=data.checksums,
        split=data.split,
        seed=SEED,
        sampler=SAMPLER,
        pruner="none",
    )
    folder.enter(record)
    say(f"{one.title}: {trials} trials over {len(space)} parameters, {jobs} at once")
    study = open_study(folder.journal, "none", one.settings.epochs)
    known = sum(is_trial(trial) and not is_lost(trial) for trial in study.get_trials(deepcopy=False))
    if known > trials:
        raise UsageError(
            f"'{folder.path}' holds a search of {known} trials, and --tune {trials} asks for fewer; give as many, or "
            "another --results."
        )
    Search(
        folder=folder,
        study=study,
        plan=plan,
        space=space,
        sampler=SAMPLER,
        trials=trials,
        stores={part: data.stores[part] for part in ("train", "valid")},
        models=one.files,
        say=lambda text: say(f"{one.title} {text}"),
    ).run(jobs, apart=True)
    found = tuned_of(folder, study, record, space, one.settings.monitor)
    write_results(folder, found)
    write_page(folder, record, found, space)
    best = found.best
    assert best.score is not None
    spec, settings = from_plain(best.spec), msgspec.convert(best.settings, TrainSettings)
    say(f"{one.title}: trial {best.number} is best, {one.settings.monitor} {best.score:.5f} on valid")
    searched = Searched(
        trials=trials, space=record.space, sampler=SAMPLER, seed=SEED, number=best.number,
        values=to_plain(best.values), score=best.score,
    )  # fmt: skip
    return replace(one, spec=spec, settings=msgspec.structs.replace(settings, seed=0), searched=searched)


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
