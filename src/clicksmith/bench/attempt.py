"""What a trial keeps on disk while it goes on, so that a killed one is continued: its checkpoint, and what it cost.

    RESULTS/DATASET/.trials/MODEL-SEED/DIGEST/    checkpoint/, spent.json

The digest is that of configuration, code and threads: only what must give the same weights bit for bit is continued.
"""

import contextlib
import shutil
import time
from pathlib import Path

import msgspec

from clicksmith.bench.cost import code_digest
from clicksmith.bench.row import Configuration
from clicksmith.files import write_bytes
from clicksmith.identity import digest

FOLDER = ".trials"
"""Beside the rows, which have no dot."""
SPENT = "spent.json"


class Spent(msgspec.Struct, frozen=True):
    """What the attempts so far have cost."""

    configuration: str
    """Its name."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    test_evaluations: int = 0


class Attempt:
    """One go at a trial, after others that were killed; `folder` is for its checkpoint."""

    def __init__(
        self, place: Path, model: str, asked: Configuration, *, threads: int, files: tuple[str, ...] = ()
    ) -> None:
        self._home = _home(place, model, asked)
        self.folder = self._home / digest([asked.name, code_digest(files), threads])[:16]
        self._file, self._began = self.folder / SPENT, time.monotonic()
        spent = _read(self._file) or Spent(asked.name)
        self.before = msgspec.structs.replace(spent, test_evaluations=scored_before(place, model, asked))
        if self.before != spent:
            self._write(self.before)  # the folders that say so are removed now
        for other in self._home.glob("*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)

    def spent(self, test_evaluations: int) -> Spent:
        """Return what all attempts have cost by now, this one with all that its process did."""
        return Spent(
            self.before.configuration,
            round(self.before.seconds + time.monotonic() - self._began, 3),
            round(self.before.cpu_seconds + time.process_time(), 3),
            test_evaluations,
        )

    def note(self, test_evaluations: int) -> None:
        """Write down what was spent."""
        self._write(self.spent(test_evaluations))

    def over(self) -> None:
        """Remove everything: the trial has an outcome, or cannot have one."""
        shutil.rmtree(self._home, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._home.parent.rmdir()

    def _write(self, spent: Spent) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._file, msgspec.json.encode(spent))


def scored_before(place: Path, model: str, asked: Configuration) -> int:
    """Return how often the attempts at a configuration, with whatever code, have scored the test rows."""
    spent = [_read(path) for path in _home(place, model, asked).glob(f"*/{SPENT}")]
    return max((one.test_evaluations for one in spent if one and one.configuration == asked.name), default=0)


def _home(place: Path, model: str, asked: Configuration) -> Path:
    return place / FOLDER / f"{model}-{asked.seed}"


def _read(path: Path) -> Spent | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):  # what was spent is not worth a failure
        return msgspec.json.decode(path.read_bytes(), type=Spent)
    return None
