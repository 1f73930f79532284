"""What is known of the test rows before any trial, stored once beside the rows of a data set.

test_labels.npy   uint8
test_groups.npy   int32, where the rows have groups
test_rarest.npy   int32: how often training rows hold the rarest id of each row; 0: they do not
test_time.npy     float64, seconds, where the rows have a time
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.data import BenchData
from clicksmith.bench.row import write_array
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError, UsageError
from clicksmith.identity import file_digest
from clicksmith.train.counts import rarest_counts

LABELS, GROUPS, RAREST, TIME = "test_labels.npy", "test_groups.npy", "test_rarest.npy", "test_time.npy"

Facts = Mapping[str, NDArray[Any]]
"""By file name, each [rows]."""


def facts_of(data: BenchData) -> Facts:
    """Return what the encoded rows say. Raises UsageError where the test rows are (nearly) of one class."""
    train, test = (Store.open(data.stores[part]) for part in ("train", "test"))
    targets = test.targets
    clicks = int(targets["labels"][:, 0].sum())
    if min(clicks, test.rows - clicks) < 2:
        raise UsageError(
            f"'{data.title}': {clicks:,} of the {test.rows:,} test rows are clicks; with fewer than two clicks, or two "
            "other rows, no model can be told from another. Take other test rows."
        )
    found: dict[str, NDArray[Any]] = {LABELS: targets["labels"][:, 0].astype(np.uint8)}
    if "group" in targets:
        found[GROUPS] = np.unique(targets["group"], return_inverse=True)[1].astype(np.int32)
    if "time" in targets:
        found[TIME] = targets["time"].astype(np.float64)
    return found | {RAREST: rarest_counts(train, test)}


def store_facts(folder: Path, facts: Facts) -> str:
    """Write the facts that a data set's folder lacks; return the labels' SHA-256.

    Raises UsageError if the folder says something else of the test rows.
    """
    for path in differing(folder, facts):
        raise UsageError(
            f"'{path}' was written for other test rows (here are {facts[LABELS].size:,}) or other training rows; "
            "models are compared on the same rows only: choose another folder for results (--results)."
        )
    for name, array in facts.items():
        if not (folder / name).exists():
            write_array(folder / name, array)
    return file_digest(folder / LABELS)


def differing(folder: Path, facts: Facts) -> list[Path]:
    """Return the files in a data set's folder that say something else."""
    there = [name for name in facts if (folder / name).exists()]
    return [folder / name for name in there if not _holds(folder / name, facts[name])]


def read_fact(path: Path, rows: int) -> NDArray[Any]:
    """Read a fact of the test rows. Raises ArtifactError if the file is damaged or of another length."""
    try:
        array = cast("NDArray[Any]", np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"'{path}' is damaged: {error}.") from error
    if array.shape != (rows,):
        raise ArtifactError(f"'{path}' holds {array.shape} values where the rows say {rows}.")
    return array


def _holds(path: Path, array: NDArray[Any]) -> bool:
    try:
        return np.array_equal(np.load(path, allow_pickle=False), array, equal_nan=array.dtype.kind == "f")
    except (OSError, ValueError):
        return False
