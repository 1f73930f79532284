"""A folder of rows, read with suspicion: what is damaged, foreign or of another question is named and left out."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.facts import GROUPS, LABELS, RAREST, TIME, Facts, read_fact
from clicksmith.bench.figures import check_figures
from clicksmith.bench.row import Row, read_array, read_row
from clicksmith.errors import ArtifactError
from clicksmith.identity import digest

Logits = NDArray[np.float16]


@dataclass(slots=True)
class Results:
    """What a results folder holds: the rows that are sound, and what was left out."""

    folder: Path
    rows: list[Row] = field(default_factory=list[Row])
    """With an outcome, by data set, model and seed."""
    failures: list[Row] = field(default_factory=list[Row])
    strange: list[str] = field(default_factory=list[str])
    """Sentences that name a file and what is wrong with it."""
    facts: dict[str, Facts] = field(default_factory=dict[str, Facts])
    """Data set to what is known of its test rows beside the labels; nothing where an older Clicksmith wrote them."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets with a finished row."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    def models(self, dataset: str) -> dict[str, list[Row]]:
        """Return model to its finished rows on a data set, by seed."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.dataset == dataset:
                found.setdefault(row.model, []).append(row)
        return found

    def labels(self, dataset: str) -> NDArray[np.uint8]:
        """Return the test labels of a data set."""
        done = next(row for row in self.rows if row.dataset == dataset).done
        return read_array(self.folder / dataset / LABELS, done.labels, done.test.rows)

    def predictions(self, row: Row) -> Logits:
        """Return the stored test logits of a row."""
        return read_array(row.path(self.folder).with_suffix(".npy"), row.done.predictions, row.done.test.rows)


def read_results(folder: Path) -> Results:
    """Read every row of a results folder, or of a data set's or a model's folder in one.

    A row is sound if nothing was changed since it was written, and its AUC and log-loss are those of its predictions.

    Raises ArtifactError: there is no such folder, or no row in it.
    """
    if not folder.is_dir():
        raise ArtifactError(f"there is no results folder '{folder}'; `clicksmith bench run` writes one.")
    home, folder = _home(folder)
    found = Results(home)
    for path in sorted(folder.rglob("*.json"), key=_place):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            row = read_row(path)
            if row.outcome is not None:
                labels = read_array(found.folder / row.dataset / LABELS, row.done.labels, row.done.test.rows)
                check_figures(row, labels, found.predictions(row), str(path))
        except ArtifactError as error:
            found.strange.append(f"{error} It is left out.")
            continue
        (found.failures if row.outcome is None else found.rows).append(row)
    _leave_out_others(found, lambda row: row.dataset, _question, "data or split")
    _leave_out_others(found, lambda row: f"{row.dataset}/{row.model}", _but_seed, "model or settings")
    _read_facts(found)
    if not found.rows and not found.failures and not found.strange:
        raise ArtifactError(f"'{folder}' holds no rows; `clicksmith bench run` writes them.")
    return found


def _read_facts(found: Results) -> None:
    for dataset in found.datasets:
        rows = next(row for row in found.rows if row.dataset == dataset).done.test.rows
        facts: dict[str, NDArray[Any]] = {}
        for path in (found.folder / dataset / name for name in (GROUPS, RAREST, TIME)):
            try:
                facts |= {path.name: read_fact(path, rows)} if path.exists() else {}
            except ArtifactError as error:
                found.strange.append(f"{error} It is left out; remove it, and `clicksmith bench run` writes it again.")
        found.facts[dataset] = facts


def _home(folder: Path) -> tuple[Path, Path]:
    """Return the results folder that a folder of rows is, or lies in, and the folder: a data set's has the labels."""
    whole = folder.resolve()  # '.' has no parent of its own
    for inner in (whole, whole.parent):
        if (inner / LABELS).is_file():
            return inner.parent, whole
    return folder, folder


def _place(path: Path) -> tuple[Path, int, str]:
    return path.parent, int(path.stem) if path.stem.isdigit() else -1, path.stem


def _question(row: Row) -> str:
    asked = row.configuration
    return digest([asked.data, asked.split, asked.schema, row.done.labels])


def _but_seed(row: Row) -> str:
    settings = {key: value for key, value in row.configuration.settings.items() if key != "seed"}
    return digest([row.configuration.spec, settings])


def _leave_out_others(found: Results, of: Callable[[Row], str], key: Callable[[Row], str], what: str) -> None:
    """Keep the rows whose key most rows of their group have; name the others."""
    keys = {id(row): key(row) for row in found.rows}
    usual = {group: _most([keys[id(row)] for row in found.rows if of(row) == group]) for group in map(of, found.rows)}
    for row in [row for row in found.rows if keys[id(row)] != usual[of(row)]]:
        found.rows.remove(row)
        found.strange.append(
            f"'{row.path(found.folder)}' answers another question than the other rows of {of(row)}: its {what} "
            "differ. It is left out."
        )


def _most(keys: Iterable[str]) -> str:
    return Counter(keys).most_common(1)[0][0]
