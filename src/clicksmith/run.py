"""A run: one folder that `fit` fills, and what can be asked of it afterwards.

run.json           what was asked: identity, model, settings, seed, data checksums, state
model/             the artefact
metrics.json       {"valid": {"auc": ...}, "test": ...}
predictions/       logits and labels of valid and test in row order: a metric can be added later
schema.json        the schema, and reasons.json why it was proposed so
profile.json       rows of each part, and what every column holds
log.jsonl          a line per evaluation, and lines of steps between them
report.html        the page
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from clicksmith.errors import ArtifactError, UsageError
from clicksmith.files import locked, write_bytes
from clicksmith.identity import digest

if TYPE_CHECKING:
    from clicksmith.serve.predictor import Predictor

T = TypeVar("T")
State = Literal["new", "resumed", "done"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run was asked to do. Two runs with equal `identity` give equal weights on one machine."""

    model: str
    spec: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    schema: str
    """Digest of the schema."""
    data: dict[str, str]
    """Content checksum of each split, and of each side table as `table:NAME`."""
    split: str
    """How valid and test were made."""
    calibration: Literal["platt", "isotonic", "none"] = "platt"
    plan: str = ""
    """Digest of the Plan that the model is built under."""
    start: str = ""
    """Checksum of the file whose weights training begins with."""
    packages: dict[str, str] = {}
    done: bool = False

    @property
    def identity(self) -> str:
        """Digest of what decides the weights; versions and state are left out."""
        asked = msgspec.to_builtins(self)
        return digest({name: value for name, value in asked.items() if name not in ("packages", "done")})


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def record(self) -> Path:
        """What was asked."""
        return self.path / "run.json"

    @property
    def model(self) -> Path:
        """The artefact."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """What was measured."""
        return self.path / "metrics.json"

    @property
    def log(self) -> Path:
        """What `clicksmith.train.log` writes."""
        return self.path / "log.jsonl"

    @property
    def schema(self) -> Path:
        """What the columns mean."""
        return self.path / "schema.json"

    @property
    def reasons(self) -> Path:
        """Why the schema was proposed so."""
        return self.path / "reasons.json"

    @property
    def split(self) -> Path:
        """Row numbers of the parts taken off the training rows."""
        return self.path / "split"

    @property
    def importance(self) -> Path:
        """How much each field helps."""
        return self.path / "importance.json"

    @property
    def profile(self) -> Path:
        """What is known of the data."""
        return self.path / "profile.json"

    @property
    def training(self) -> Path:
        """Checkpoints; removed when the run is done."""
        return self.path / "training"

    @property
    def trained(self) -> bool:
        """Whether a run that is not done has something to go on from: weights, not only encoded rows."""
        return any(self.training.glob("checkpoint*"))

    @property
    def encoded(self) -> Path:
        """Encoded rows; removed when the run is done."""
        return self.path / "encoded"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def predictions(self, split: str) -> Path:
        """Logits and labels of a split, see `clicksmith.evaluate.Predictions`."""
        return self.path / "predictions" / split

    def read_record(self) -> RunRecord | None:
        """Return what the run was asked, or None in a folder without run."""
        if not self.record.exists():
            return None
        return _decoded(self.record, self.record.read_bytes(), RunRecord)

    def read_log(self) -> list[dict[str, Any]]:
        """Return the lines of the log, by `kind`: "step" or "evaluation"."""
        if not self.log.exists():
            return []
        return [_decoded(self.log, line, dict[str, Any]) for line in self.log.read_bytes().splitlines() if line]

    def read_metrics(self) -> dict[str, Any]:
        """Return what was measured."""
        if not self.metrics.exists():
            raise ArtifactError(f"'{self.metrics}' is missing; remove the folder and fit again.")
        return _decoded(self.metrics, self.metrics.read_bytes(), dict[str, Any])

    def write_record(self, record: RunRecord) -> None:
        """Write what the run was asked."""
        write_json(self.record, record)


@contextmanager
def claimed(path: Path) -> Generator[RunFolder]:
    """Hold a run folder for this process.

    Raises StorageError: another process holds it, or a file is in the way. UsageError: it holds something else.
    """
    if path.is_file():
        raise UsageError(f"'{path}' is a file where a run folder is to be written; choose another --out.")
    strangers = [p for p in path.iterdir() if p.name != ".lock"] if path.is_dir() else []
    if strangers and not (path / "run.json").exists() and not _unfinished(path):
        raise UsageError(
            f"'{path}' is not empty and holds no run (for example '{strangers[0].name}'); choose another --out."
        )
    with locked(path):
        yield RunFolder(path)


def begin(folder: RunFolder, record: RunRecord, *, overwrite: bool = False, resume: bool = False) -> State:
    """Enter what is asked; say whether the folder is new, holds the same run half done, or holds it finished.

    Raises UsageError when it holds a run that was asked something else, and got as far as training; with `resume`
    however far it got.
    """
    before = folder.read_record()
    if before is not None and before.identity == record.identity and not (overwrite and before.done):
        return "done" if before.done else "resumed"
    if before is not None and not overwrite and (before.done or folder.trained or resume):
        asked, held = msgspec.to_builtins(record), msgspec.to_builtins(before)
        names = [name for name in asked if name not in ("packages", "done") and asked[name] != held[name]]
        other = [name if name != "settings" else f"settings ({_values(held[name], asked[name])})" for name in names]
        raise UsageError(
            f"'{folder.path}' holds another run (it differs in: {', '.join(other)}); "
            f"choose another --out, or add --overwrite."
        )
    clear(folder)
    folder.write_record(record)
    return "new"


def clear(folder: RunFolder) -> None:
    """Remove what an earlier run left, the lock excepted."""
    import shutil

    for name in ("model", "predictions", "training", "split"):
        shutil.rmtree(folder.path / name, ignore_errors=True)
    for name in ("run.json", "metrics.json", "importance.json", "profile.json", "log.jsonl", "report.html"):
        (folder.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """A finished run.

    >>> Run.open("no/such/folder")
    Traceback (most recent call last):
    clicksmith.errors.ArtifactError: 'no/such/folder' is not a run folder; give the folder that `clicksmith fit` wrote.
    """

    path: Path
    record: RunRecord
    metrics: dict[str, Any]

    @staticmethod
    def open(path: str | Path) -> "Run":
        """Read a run folder."""
        folder = RunFolder(Path(path))
        record = folder.read_record() if folder.path.is_dir() else None
        if record is None:
            raise ArtifactError(f"'{path}' is not a run folder; give the folder that `clicksmith fit` wrote.")
        if not record.done:
            raise ArtifactError(f"the run in '{path}' is not finished; run the same `clicksmith fit` command again.")
        return Run(folder.path, record, folder.read_metrics())

    @property
    def folder(self) -> RunFolder:
        """The paths of the run."""
        return RunFolder(self.path)

    def predictor(self) -> "Predictor":
        """Return the trained model, ready to score raw rows."""
        from clicksmith.serve.predictor import load

        return load(self.folder.model)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def entered(path: Path, record: msgspec.Struct) -> bool:
    """Return whether `path` says already that this was asked of its folder; write it there if nothing is said.

    Raises UsageError: something else was asked; what differs is named. ArtifactError: the file is damaged.
    """
    if not path.exists():
        write_json(path, record)
        return False
    try:
        before = msgspec.json.decode(path.read_bytes(), type=type(record))
    except msgspec.DecodeError as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); remove the folder and search again.") from error
    asked, held = (msgspec.json.decode(msgspec.json.encode(value)) for value in (record, before))
    other = [_difference(name, held[name], asked[name]) for name in asked if asked[name] != held[name]]
    if other:
        raise UsageError(
            f"'{path.parent}' holds another search; it differs in {'; '.join(other)}. Choose another --out, or remove "
            f"'{path.parent}' and what it found to search anew."
        )
    return True


def _values(held: dict[str, Any], asked: dict[str, Any]) -> str:
    """Say which values differ."""
    return " and ".join(f"{key} is {held.get(key)}, asked {asked[key]}" for key in asked if held.get(key) != asked[key])


def _difference(name: str, held: Any, asked: Any) -> str:
    if not isinstance(held, dict) or not isinstance(asked, dict):
        return f"{name} ({held}, asked is {asked})" if name != "schema" else name
    keys = sorted(key for key in {*held, *asked} if held.get(key) != asked.get(key))
    return f"{name} ({', '.join(keys)})"


def _decoded(path: Path, content: bytes, kind: type[T]) -> T:
    """Return JSON as a value of the kind; a file that holds something else is damaged."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); remove the folder and fit again.") from error


def _unfinished(path: Path) -> bool:
    """Return whether a killed run left only its encoded rows."""
    return all(
        p.name in (".lock", "encoded", "schema.json", "reasons.json") or p.name.endswith(".tmp") for p in path.iterdir()
    )
