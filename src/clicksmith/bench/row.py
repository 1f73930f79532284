"""A row: what was asked of one trial, what came out, and on which machine. Written once, never changed.

A row is named by the SHA-256 of its configuration: what decides the weights, in canonical JSON. Code and machine are
recorded beside it. The file also holds the SHA-256 of all it says, so that a changed figure is noticed.
"""

import io
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import ArtifactError, UsageError
from clicksmith.evaluate.calibration import Bin
from clicksmith.evaluate.interval import Estimate
from clicksmith.files import write_bytes
from clicksmith.identity import digest, file_digest

VERSION = 1
FailureKind = Literal["diverged", "out of memory", "crashed", "refused"]


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the weights. Equal effective configurations are equal values, whatever the model was called."""

    data: dict[str, str]
    """Checksum of each file: the published MD5 (of the LF form), or SHA-256 of the content."""
    split: str
    """Where validation rows come from, with the checksum of their row numbers if they were taken off."""
    schema: str
    """Digest of the schema: the preprocessing."""
    spec: dict[str, Any]
    """The model as plain data, every default filled in."""
    settings: dict[str, Any]
    """Of training, every default filled in; the device and the precision are those that were used."""

    @property
    def name(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self)

    @property
    def seed(self) -> int:
        """Of the weights and the order of rows."""
        return int(self.settings["seed"])


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Test metrics with their intervals, and calibration."""

    rows: int
    clicks: int
    level: float
    values: dict[str, Estimate]
    reliability: tuple[Bin, ...]


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model is and what its training took."""

    parameters: int
    embedding: int
    dense: int
    flops_per_row: int | None
    """Of products of matrices in one prediction, a multiplication and an addition counting as two; trees have none."""
    seconds_to_best: float
    """Of training, without evaluations, up to the weights that were kept."""
    seconds: float
    """Of the whole trial, from the first import to the test."""
    cpu_seconds: float
    """Of all cores over the same time: what it costs on a machine that does other work too."""
    rows_per_second: float
    peak_memory: int
    """Bytes: resident, or of the GPU."""
    latency_ms: float | msgspec.UnsetType = msgspec.UNSET
    """Median milliseconds in which the model scores 100 encoded rows on the trial's threads; trees and old rows have
    none."""
    latency_p99_ms: float | msgspec.UnsetType = msgspec.UNSET
    """Their 99th percentile; older rows have none."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came out of a trial."""

    test: Measured
    valid: dict[str, float]
    """Validation metrics of the kept weights."""
    cost: Cost
    epochs: int
    best_epoch: int
    reason: str
    """Why training ended."""
    curve: list[dict[str, Any]]
    """One entry per evaluation."""
    test_evaluations: int
    """How often test rows were scored: once, unless a trial that failed after it was tried again."""
    predictions: str
    """SHA-256 of the stored test logits."""
    labels: str
    """SHA-256 of the data set's stored test labels."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why there is no outcome."""

    kind: FailureKind
    message: str
    test_evaluations: int = 0


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a row was made; nothing is decided by it, but a trial is repeated bit for bit only where it is equal."""

    code: str
    """SHA-256 of the package's source files, and of those that hold the user's own models."""
    python: str
    platform: str
    processor: str
    packages: dict[str, str]
    threads: int
    kernels: str
    """Instruction level of the compiled kernels, or "torch"."""
    gpu: str | None = None


class Searched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the options of a row were found, where they were searched: the same number of trials for every model."""

    trials: int
    """The budget: at most so many different configurations, judged on validation rows."""
    space: dict[str, Any]
    """What was searched, by `model.NAME` and `train.NAME`."""
    sampler: str
    pruner: str
    number: int
    """Of the best trial."""
    values: dict[str, Any]
    """What it had."""
    seeds: tuple[int, ...]
    """That it was trained with."""
    scores: tuple[float, ...]
    """Its monitored metric on the validation rows, by seed, less being worse: log-loss has a minus. Their mean was the
    best."""
    seconds: float
    """Of training, both stages' trials together, without their evaluations."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One trial. Either `outcome` or `failure` is there."""

    version: int = VERSION
    name: str
    dataset: str
    """Data set and protocol, as the folder is called."""
    model: str
    seed: int
    configuration: Configuration
    made_by: Provenance
    outcome: Outcome | None = None
    failure: Failure | None = None
    searched: Searched | msgspec.UnsetType = msgspec.UNSET
    """Absent in rows of settings that were given."""
    checksum: str = ""
    """SHA-256 of all above."""

    @property
    def done(self) -> Outcome:
        """The outcome of a row that has one."""
        if self.outcome is None:
            raise ArtifactError(f"the trial {self.dataset}/{self.model}/{self.seed} failed; it has no outcome.")
        return self.outcome

    def path(self, results: Path) -> Path:
        """Where the row is written."""
        return row_path(results, self.dataset, self.model, self.seed)


def row_path(results: Path, dataset: str, model: str, seed: int) -> Path:
    """Return the file of a row."""
    return results / dataset / model / f"{seed}.json"


def write_row(results: Path, row: Row) -> None:
    """Write a row, sealed with its checksum. A finished row is never replaced; a failed one may be.

    Raises UsageError if a finished row is there, StorageError if the disk is full.
    """
    path = row.path(results)
    if path.exists() and read_row(path).outcome is not None:
        raise UsageError(f"'{path}' holds a finished row, and rows are never changed; choose another --results folder.")
    sealed = msgspec.structs.replace(row, checksum=_seal(row))
    write_bytes(path, msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n")


def read_row(path: Path) -> Row:
    """Read a row. Raises ArtifactError saying what is wrong if it is damaged, changed, or does not belong there."""
    try:
        row = msgspec.json.decode(path.read_bytes(), type=Row)
    except OSError as error:
        raise ArtifactError(f"'{path}' cannot be read: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise ArtifactError(f"'{path}' is not a row of a benchmark: {error}.") from error
    if row.version != VERSION:
        raise ArtifactError(f"'{path}' has version {row.version}; this Clicksmith reads version {VERSION}.")
    if row.checksum != _seal(row):
        raise ArtifactError(f"'{path}' was changed after it was written: its checksum is not that of its content.")
    if row.name != row.configuration.name or row.seed != row.configuration.seed:
        raise ArtifactError(f"'{path}' is named {row.name[:12]}, its configuration is {row.configuration.name[:12]}.")
    if path.parts[-3:] != (row.dataset, row.model, f"{row.seed}.json"):
        raise ArtifactError(f"'{path}' holds the row {row.dataset}/{row.model}/{row.seed}, which belongs elsewhere.")
    if (row.outcome is None) == (row.failure is None):
        raise ArtifactError(f"'{path}' has neither or both of outcome and failure.")
    return row


def write_array(path: Path, array: NDArray[Any]) -> str:
    """Write a .npy file and return its SHA-256."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())
    return file_digest(path)


def read_array(path: Path, sha256: str, rows: int) -> NDArray[Any]:
    """Read a .npy file. Raises ArtifactError if it is missing, altered or of another length."""
    if not path.is_file():
        raise ArtifactError(f"'{path}' is missing.")
    if file_digest(path) != sha256:
        raise ArtifactError(f"'{path}' was altered: its checksum is not the one in the row.")
    array = cast("NDArray[Any]", np.load(path, allow_pickle=False))
    if array.shape != (rows,):
        raise ArtifactError(f"'{path}' holds {array.shape} values where the row says {rows}.")
    return array


def _seal(row: Row) -> str:
    return digest(msgspec.structs.replace(row, checksum=""))
