"""`bench verify`: every row is what it says it is, and one of them comes out again."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from clicksmith.bench.cost import memory_free
from clicksmith.bench.data import BenchData, Say, named, prepare
from clicksmith.bench.facts import differing, facts_of
from clicksmith.bench.pool import Ended, run_jobs
from clicksmith.bench.results import Results
from clicksmith.bench.row import Row, read_array, read_row
from clicksmith.bench.run import CACHE, job_of
from clicksmith.errors import DataError, UsageError
from clicksmith.names import lookup

TOLERANCE = 1e-3
"""AUC by which a row may differ on another machine or with other code: the working threshold of the field."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row and what came out when it was recomputed."""

    row: Row
    auc: float
    again: float
    largest: float
    """Largest difference of a stored logit."""
    same_place: bool
    """Whether code, packages, processor and threads are those of the row, so that every bit must agree."""
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the row holds."""
        return self.largest == 0 if self.same_place else abs(self.again - self.auc) <= self.tolerance

    def __str__(self) -> str:
        """One sentence."""
        where = f"{self.row.dataset}/{self.row.model}/{self.row.seed}"
        words = "agrees" if self.agrees else "DOES NOT AGREE"
        if self.largest == 0:
            return f"{where} {words}: AUC {self.auc:.6f}, every stored logit the same"
        must = "must agree to the bit here" if self.same_place else f"other code or machine, {self.tolerance:g} allowed"
        return f"{where} {words}: AUC {self.auc:.6f}, recomputed {self.again:.6f} ({must})"


def quickest(results: Results) -> Row:
    """Return the finished row that took the shortest."""
    if not results.rows:
        raise UsageError(f"'{results.folder}' holds no finished row to recompute.")
    return min(results.rows, key=lambda row: row.done.cost.seconds)


def row_named(results: Results, name: str) -> Row:
    """Return the row DATASET/MODEL/SEED. Raises UnknownNameError naming the nearest."""
    return lookup({f"{row.dataset}/{row.model}/{row.seed}": row for row in results.rows}, name, "finished row")


def recompute(
    results: Results,
    row: Row,
    *,
    folder: str | None = None,
    cache: Path = CACHE,
    tolerance: float = TOLERANCE,
    files: Sequence[str] = (),
    say: Say = print,
) -> Verdict:
    """Run the trial of a row again, in a process of its own with the same threads, and compare.

    Args:
        folder: of the data set, or the TOML file that declares it.
        files: Python files that hold the user's own models.

    Raises:
        DataError: the data are not those of the row. UsageError: the trial failed this time.
    """
    declared = folder is not None and folder.endswith(".toml")
    name, protocol = (str(folder), None) if declared else named(row.dataset)
    data = prepare(name, None if declared else folder, protocol, cache, say)
    _check_data(data, row, results.folder)
    with tempfile.TemporaryDirectory() as place:
        job = job_of(
            data, row.model, row.configuration, results=Path(place), labels=row.done.labels,
            threads=row.made_by.threads, files=tuple(str(Path(file).resolve()) for file in files),
        )  # fmt: skip
        job = msgspec.structs.replace(job, dataset=row.dataset)
        ends: list[Ended] = []
        run_jobs([job], at_once=1, memory=memory_free(), need=lambda _: 0, ended=ends.append)
        failure = ends[0].failure
        if failure is not None:
            raise UsageError(f"{row.dataset}/{row.model}/{row.seed} failed when recomputed: {failure.message}")
        again = read_row(row.path(Path(place)))
        logits = read_array(again.path(Path(place)).with_suffix(".npy"), again.done.predictions, again.done.test.rows)
    stored = results.predictions(row).astype(np.float32)
    return Verdict(
        row=row,
        auc=row.done.test.values["auc"].value,
        again=again.done.test.values["auc"].value,
        largest=float(np.abs(stored - logits.astype(np.float32)).max()),
        same_place=again.made_by == row.made_by,
        tolerance=tolerance,
    )


def _check_data(data: BenchData, row: Row, folder: Path) -> None:
    asked = row.configuration
    for what, held, here in (
        ("data", asked.data, data.checksums),
        ("split", asked.split, data.split),
        ("schema", asked.schema, data.schema),
    ):
        if held != here:
            raise DataError(
                f"{row.dataset}/{row.model}/{row.seed} was made with another {what}: {held}, here is {here}; "
                "give the data it was made with."
            )
    for path in differing(folder / row.dataset, facts_of(data)):
        raise DataError(
            f"'{path}' is not what the data say of the test rows; remove it, and `clicksmith bench run` writes it anew."
        )
