"""`bench run`: which trials there are, which are done, and the others in parallel."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.bench.cost import BASE, memory_free, memory_needed, provenance
from clicksmith.bench.data import BenchData, Say, prepare
from clicksmith.bench.facts import facts_of, store_facts
from clicksmith.bench.job import Job
from clicksmith.bench.pool import Ended, cores, run_jobs
from clicksmith.bench.row import Configuration, Failure, Row, read_array, read_row, row_path, write_row
from clicksmith.bench.settings import Contestant, contestants, effective, read_settings, settings_for
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, CompositionError, UsageError
from clicksmith.files import check_folder, locked
from clicksmith.models.spec import ModelSpec
from clicksmith.parts import from_plain, to_plain
from clicksmith.trees.spec import Trees, trees_memory

CACHE = Path.home() / ".cache" / "clicksmith" / "bench"


@dataclass(slots=True)
class Report:
    """What a run did."""

    finished: int = 0
    skipped: int = 0
    """Rows that were there."""
    failed_before: int = 0
    """Those of them that have no outcome."""
    failed: list[str] = field(default_factory=list[str])
    strange: list[str] = field(default_factory=list[str])
    """Files in the way that are no rows of this benchmark."""


def run(
    dataset: str,
    *,
    folder: str | None = None,
    models: Sequence[str] = ("all",),
    seeds: int = 5,
    settings: str | None = None,
    results: Path = Path("results"),
    protocol: str | None = None,
    jobs: int | None = None,
    memory: float | None = None,
    threads: int = 1,
    retry: bool = False,
    train: Mapping[str, Any] | None = None,
    tune: int | None = None,
    cache: Path = CACHE,
    say: Say = print,
) -> Report:
    """Run every trial that has no row yet: each model with seeds 0 to `seeds` - 1.

    Paper: bars, of whose protocol this is the strict form: test rows choose nothing, and there are several seeds.

    Args:
        dataset: a name of `DATASETS`, or a TOML file that declares one.
        folder: where its files lie.
        models: titles of the settings file, names of backbones, "all", or files of your own (.py).
        settings: a settings file; the package's for this data set if not given.
        protocol: of splitting and preprocessing; the first if not given.
        jobs: trials at once; if not given as many as there are cores, and one where a model is trained on a GPU.
        memory: gigabytes for all trials together; most of what is free if not given.
        retry: run trials again that failed before.
        train: settings of training for every model, over those of the settings file.
        tune: first search the options of every model with so many trials on validation rows.
        cache: where encoded rows are kept.

    Raises:
        UnknownNameError, DataError, UsageError, StorageError: nothing was run, but for a full disk on the way.
    """
    _check(seeds, jobs, memory, threads, tune)
    asked = read_settings(Path(settings)) if settings else settings_for(Path(dataset).name)
    chosen = contestants(asked, models, train=train)
    most = jobs or side_by_side(chosen)
    check_folder(results)
    data = prepare(dataset, folder, protocol, cache, say)
    for note in data.notes:
        say(f"note: {note}")
    with locked(results / data.title):
        labels = store_facts(results / data.title, facts_of(data))
        report = Report()
        budget = memory_free() if memory is None else round(memory * 1e9)
        if tune is not None:
            chosen = _tuned(chosen, data, results, tune, jobs=most, memory=budget, report=report, say=say)
        plan = _Plan(data, results, labels, threads, retry, report, say)
        trials = [job for seed in range(seeds) for job in plan.jobs(chosen, seed)]
        at_once = min(most, max(1, len(trials)))
        say(f"{len(trials)} trials to run, {at_once} at once; {report.skipped} rows are there")
        watch = _Watch(results, report, len(trials), say)
        run_jobs(trials, at_once=at_once, memory=budget, need=plan.need, ended=watch.ended)
    return report


def side_by_side(chosen: Sequence[Contestant]) -> int:
    """Return how many trials run at once where nobody says: on a GPU one, which may fill it, else one a core."""
    networks = (one for one in chosen if not isinstance(one.spec, Trees))
    return 1 if any(effective(one.settings, 0).device != "cpu" for one in networks) else cores()


def _tuned(
    chosen: Sequence[Contestant],
    data: BenchData,
    results: Path,
    trials: int,
    *,
    jobs: int,
    memory: int,
    report: Report,
    say: Say,
) -> list[Contestant]:
    """Return the contestants with what a search of each found; one whose trials all fail is reported and left out."""
    from clicksmith.bench.tuned import budget, search  # brings optuna

    for one in chosen:
        budget(results / data.title / one.title, trials)
    found: list[Contestant] = []
    for one in chosen:
        try:
            at_once = max(1, min(jobs, memory // needed(one.spec, data)))
            found.append(search(one, data, results / data.title, trials, jobs=at_once, say=say))
        except (CompositionError, UsageError) as error:
            report.failed.append(f"{one.title}: its search failed: {error}")
    return found


def needed(spec: ModelSpec | Trees, data: BenchData) -> int:
    """Return about how many bytes a training holds. Raises CompositionError if the spec does not fit the data."""
    if isinstance(spec, Trees):
        rows = sum(Store.open(data.stores[part]).rows for part in ("train", "valid"))
        return BASE + trees_memory(spec, data.layout, rows)
    return memory_needed(spec, data.layout)


def configuration_of(data: BenchData, contestant: Contestant, seed: int) -> Configuration:
    """Return what decides the weights of a trial, in one form however it was asked."""
    settings = contestant.settings
    whole = effective(settings, seed)
    spec = from_plain(to_plain(contestant.spec))  # 0 becomes 0.0 where a float is meant
    trees = {"seed": seed, "device": "cpu", "monitor": settings.monitor}  # trees have their own learning rate
    asked = trees if isinstance(contestant.spec, Trees) else whole
    plain: Any = msgspec.json.decode(msgspec.json.encode([to_plain(spec), asked]))
    return Configuration(data=data.checksums, split=data.split, schema=data.schema, spec=plain[0], settings=plain[1])


def job_of(
    data: BenchData,
    title: str,
    configuration: Configuration,
    *,
    results: Path,
    labels: str,
    threads: int,
    files: tuple[str, ...] = (),
) -> Job:
    """Return what a trial's process is told."""
    return Job(
        dataset=data.title,
        model=title,
        configuration=configuration,
        stores={part: str(path) for part, path in data.stores.items()},
        labels=labels,
        results=str(results),
        threads=threads,
        files=files,
    )


@dataclass(slots=True)
class _Plan:
    """Which trials are to be run."""

    data: BenchData
    results: Path
    labels: str
    threads: int
    retry: bool
    report: Report
    say: Say
    names: dict[str, str] = field(default_factory=dict[str, str])
    needs: dict[str, int] = field(default_factory=dict[str, int])

    def jobs(self, chosen: Sequence[Contestant], seed: int) -> list[Job]:
        """Return the trials of a seed that have no row; those that cannot be built fail here."""
        return [job for one in chosen if (job := self._job(one, seed)) is not None]

    def need(self, job: Job) -> int:
        """Return about how many bytes a trial holds."""
        return self.needs.get(job.model, BASE)

    def _job(self, one: Contestant, seed: int) -> Job | None:
        configuration = configuration_of(self.data, one, seed)
        same = self.names.setdefault(configuration.name, one.title)
        if same != one.title:
            if seed == 0:
                self.say(f"note: {one.title} has the same configuration as {same}; it is not run a second time")
            return None
        job = job_of(
            self.data,
            one.title,
            configuration,
            results=self.results,
            labels=self.labels,
            threads=self.threads,
            files=one.files,
        )
        job = msgspec.structs.replace(job, searched=one.searched)
        before = self._before(one.title, configuration)
        if isinstance(before, str):
            return None
        try:
            if one.title not in self.needs:
                self.needs[one.title] = needed(one.spec, self.data)
        except CompositionError as error:
            record_failure(self.results, job, Failure(kind="refused", message=str(error), test_evaluations=before))
            self.report.failed.append(f"{one.title} seed {seed}: refused: {error}")
            return None
        return msgspec.structs.replace(job, test_evaluations=before)

    def _before(self, title: str, configuration: Configuration) -> int | str:
        """Return how often test rows were scored before, or why there is nothing to run."""
        path = row_path(self.results, self.data.title, title, configuration.seed)
        if not path.exists():
            return 0
        try:
            row = read_row(path)
            if row.outcome is not None:
                read_array(path.with_suffix(".npy"), row.outcome.predictions, row.outcome.test.rows)
        except ArtifactError as error:
            self.report.strange.append(f"{error} Nothing is changed; remove '{path}' to run this trial.")
            return "strange"
        if row.failure is not None and self.retry:
            return row.failure.test_evaluations
        if row.name != configuration.name:
            other = _difference(row.configuration, configuration)
            cure = "rows are never changed: choose another --results folder."
            if row.failure is not None:
                cure = "its trial failed: --retry runs this one in its place."
            raise UsageError(f"'{path}' is a row of another configuration (it differs in: {other}); {cure}")
        self.report.skipped += 1
        self.report.failed_before += row.failure is not None
        return "done"


def record_failure(results: Path, job: Job, failure: Failure) -> None:
    """Write the row of a trial without outcome."""
    row = Row(
        name=job.configuration.name,
        dataset=job.dataset,
        model=job.model,
        seed=job.configuration.seed,
        configuration=job.configuration,
        made_by=provenance(job.configuration.settings["device"], files=job.files),
        failure=failure,
        searched=job.searched,
    )
    write_row(results, row)


@dataclass(slots=True)
class _Watch:
    """Says how far the trials are, and when they will be done."""

    results: Path
    report: Report
    total: int
    say: Say
    count: int = 0
    began: float = field(default_factory=time.monotonic)

    def ended(self, how: Ended) -> None:
        """Take in the end of a trial."""
        self.count += 1
        job, seed = how.job, how.job.configuration.seed
        if how.failure is not None:
            record_failure(self.results, job, how.failure)
            words = f"{how.failure.kind}: {how.failure.message}"
            self.report.failed.append(f"{job.model} seed {seed}: {words}")
        else:
            done = read_row(row_path(self.results, job.dataset, job.model, seed)).done
            words = f"AUC {done.test.values['auc'].value:.5f}, {done.epochs} epochs, {how.seconds:.0f} s"
            self.report.finished += 1
        self.say(
            f"[{self.count}/{self.total}] {job.model} seed {seed}: {words}{ahead(self.began, self.count, self.total)}"
        )


def ahead(began: float, count: int, total: int) -> str:
    """Return how long the trials begun at `began` (monotonic) will take yet, as the end of a line."""
    left = (time.monotonic() - began) / count * (total - count)
    return f"; about {duration(left)} left" if count < total else ""


def duration(seconds: float) -> str:
    """Return seconds as people say them.

    >>> duration(50), duration(600), duration(9000)
    ('50 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _difference(a: Configuration, b: Configuration) -> str:
    names = [name for name in Configuration.__struct_fields__ if getattr(a, name) != getattr(b, name)]
    if names != ["settings"]:
        return ", ".join(names)
    keys = [key for key in {**a.settings, **b.settings} if a.settings.get(key) != b.settings.get(key)]
    return ", ".join(f"{key} is {a.settings.get(key)}, asked {b.settings.get(key)}" for key in keys)


def _check(seeds: int, jobs: int | None, memory: float | None, threads: int, tune: int | None) -> None:
    for name, value in (("seeds", seeds), ("jobs", jobs), ("threads", threads), ("tune", tune)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: at least 1 is needed.")
    if memory is not None and not memory * 1e9 >= BASE:
        raise UsageError(
            f"--memory {memory}: give the gigabytes that all trials together may hold, at least {BASE / 1e9:.1f}: what "
            "a trial takes before its model."
        )
