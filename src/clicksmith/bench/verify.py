"""`bench verify`: every row is what it says it is, and one of them, or one of every model, comes out again."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt
from pathlib import Path

import msgspec
import numpy as np

from clicksmith.bench.cost import BASE, memory_free
from clicksmith.bench.data import BenchData, Say, named, prepare
from clicksmith.bench.facts import differing, facts_of
from clicksmith.bench.job import Job
from clicksmith.bench.pool import Ended, run_jobs
from clicksmith.bench.ranks import student_quantile
from clicksmith.bench.results import Results
from clicksmith.bench.row import Row, read_array, read_row
from clicksmith.bench.run import CACHE, job_of, needed
from clicksmith.errors import ClicksmithError, DataError, UsageError
from clicksmith.models.register import load_user_models
from clicksmith.names import lookup
from clicksmith.parts import from_plain

TOLERANCE = 1e-3
"""AUC by which a row may differ on another machine or with other code: the working threshold of the field."""
LEVEL = 0.99
"""Of the interval that the seeds of a model leave open for one more."""
FEWEST = 3
"""Seeds that say how far one more may lie; with fewer the tolerance does."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where the AUC of a row may lie with other code or on another machine."""

    low: float
    high: float
    why: str

    def __contains__(self, auc: float) -> bool:
        return self.low <= auc <= self.high


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row and what came out when it was recomputed."""

    row: Row
    allowed: Allowed
    again: float = nan
    """AUC; nan if the trial failed."""
    largest: float = inf
    """Largest difference of a stored logit."""
    same_place: bool = False
    """Whether code, packages, processor and threads are those of the row and no GPU has part, so that every bit must
    agree."""
    failure: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the row holds."""
        return self.largest == 0 if self.same_place else self.again in self.allowed

    def __str__(self) -> str:
        """One sentence."""
        where, auc = name_of(self.row), auc_of(self.row)
        if self.failure:
            return f"{where} DOES NOT AGREE: it failed when recomputed: {self.failure}"
        words = "agrees" if self.agrees else "DOES NOT AGREE"
        if self.largest == 0:
            return f"{where} {words}: AUC {auc:.6f}, every stored logit the same"
        open_to = (
            f"other code or machine, {self.allowed.low:.4f} to {self.allowed.high:.4f} allowed: {self.allowed.why}"
        )
        must = "must agree to the bit here" if self.same_place else open_to
        return f"{where} {words}: AUC {auc:.6f}, recomputed {self.again:.6f} ({must})"


def quickest(results: Results) -> Row:
    """Return the finished row that took the shortest."""
    if not results.rows:
        raise UsageError(f"'{results.folder}' holds no finished row to recompute.")
    return min(results.rows, key=lambda row: row.done.cost.seconds)


def sentinels(results: Results) -> list[Row]:
    """Return the first seed's row of every model on every data set."""
    quickest(results)
    return [rows[0] for dataset in results.datasets for rows in results.models(dataset).values()]


def row_named(results: Results, name: str) -> Row:
    """Return the row DATASET/MODEL/SEED. Raises UnknownNameError naming the nearest."""
    return lookup({name_of(row): row for row in results.rows}, name, "finished row")


def allowed(results: Results, row: Row, tolerance: float) -> Allowed:
    """Return where one more seed of a row's model would lie: mean +- t sd sqrt(1 + 1/n) of its n seeds.

    Rounding that differs along a training is like another seed: both end elsewhere by chance. Never less than the
    tolerance around the row, below which nobody cares; and just that where there are too few seeds.
    """
    low, high = auc_of(row) - tolerance, auc_of(row) + tolerance
    aucs = np.array([auc_of(one) for one in results.models(row.dataset)[row.model]])
    if aucs.size < FEWEST:
        return Allowed(low, high, f"{tolerance:g} around the row")
    margin = student_quantile(LEVEL, aucs.size - 1) * float(aucs.std(ddof=1)) * sqrt(1 + 1 / aucs.size)
    mean = float(aucs.mean())
    return Allowed(min(low, mean - margin), max(high, mean + margin), f"where one more of {aucs.size} seeds would lie")


def recompute(
    results: Results,
    rows: Sequence[Row],
    *,
    folder: str | None = None,
    cache: Path = CACHE,
    tolerance: float = TOLERANCE,
    files: Sequence[str] = (),
    jobs: int = 1,
    say: Say = print,
    ended: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Run the trials of rows again, each in a process of its own with the same threads, and compare.

    Args:
        folder: of the data set, or the TOML file that declares it.
        files: Python files that hold the user's own models.
        jobs: trials at once.
        ended: told every verdict when it is known.

    Raises DataError: the data are not those of a row; UsageError: the tolerance is none. Nothing has run then.
    """
    if not tolerance >= 0:
        raise UsageError(f"tolerance is {tolerance}; it must be 0 or more.")
    prepared = {dataset: _prepare(dataset, folder, cache, say) for dataset in {row.dataset: None for row in rows}}
    for row in rows:
        _check_data(prepared[row.dataset], row, results.folder)
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory() as place:

        def compare(how: Ended) -> None:
            row = by_place[how.job.dataset, how.job.model, how.job.configuration.settings["seed"]]
            verdicts.append(_verdict(results, row, how, Path(place), allowed(results, row, tolerance)))
            ended(verdicts[-1])

        def need(job: Job) -> int:
            try:
                return needed(from_plain(job.configuration.spec), prepared[job.dataset])
            except ClicksmithError:  # the trial says what is wrong with it
                return BASE

        own = tuple(str(Path(file).resolve()) for file in files)
        for file in own:
            load_user_models(file)
        by_place = {(row.dataset, row.model, row.seed): row for row in rows}
        trials = [
            msgspec.structs.replace(
                job_of(
                    prepared[row.dataset], row.model, row.configuration, results=Path(place), labels=row.done.labels,
                    threads=row.made_by.threads, files=own,
                ),
                dataset=row.dataset,
            )
            for row in rows
        ]  # fmt: skip
        run_jobs(trials, at_once=jobs, memory=memory_free(), need=need, ended=compare)
    return verdicts


def auc_of(row: Row) -> float:
    """Return the test AUC of a finished row."""
    return row.done.test.values["auc"].value


def name_of(row: Row) -> str:
    """Return DATASET/MODEL/SEED."""
    return f"{row.dataset}/{row.model}/{row.seed}"


def _prepare(dataset: str, folder: str | None, cache: Path, say: Say) -> BenchData:
    declared = folder is not None and folder.endswith(".toml")
    name, protocol = (str(folder), None) if declared else named(dataset)
    return prepare(name, None if declared else folder, protocol, cache, say)


def _verdict(results: Results, row: Row, how: Ended, place: Path, allowed: Allowed) -> Verdict:
    if how.failure is not None:
        return Verdict(row, allowed, failure=how.failure.message)
    again = read_row(row.path(place))
    same_place = again.made_by == row.made_by and row.made_by.gpu is None  # a GPU adds up in any order
    logits = read_array(again.path(place).with_suffix(".npy"), again.done.predictions, again.done.test.rows)
    apart = np.abs(results.predictions(row).astype(np.float32) - logits.astype(np.float32))
    return Verdict(row, allowed, auc_of(again), float(apart.max()), same_place)


def _check_data(data: BenchData, row: Row, folder: Path) -> None:
    asked = row.configuration
    for what, held, here in (
        ("data", asked.data, data.checksums),
        ("split", asked.split, data.split),
        ("schema", asked.schema, data.schema),
    ):
        if held != here:
            raise DataError(
                f"{name_of(row)} was made with another {what}: {held}, here is {here}; give the data it was made with."
            )
    for path in differing(folder / row.dataset, facts_of(data)):
        raise DataError(
            f"'{path}' is not what the data say of the test rows; remove it, and `clicksmith bench run` writes it anew."
        )
