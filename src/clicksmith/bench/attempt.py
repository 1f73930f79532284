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


class Spent(msgspec.Struct, frozen=True):
    """What the attempts so far have cost."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    test_evaluations: int = 0


class Attempt:
    """One go at a trial, after others that were killed; `folder` is for its checkpoint."""

    def __init__(
        self, place: Path, model: str, asked: Configuration, *, threads: int, files: tuple[str, ...] = ()
    ) -> None:
        self._home = place / FOLDER / f"{model}-{asked.seed}"
        self.folder = self._home / digest([asked.name, code_digest(files), threads])[:16]
        for other in self._home.glob("*"):
            if other != self.folder:
                shutil.rmtree(other, ignore_errors=True)
        self._file, self._began = self.folder / "spent.json", time.monotonic()
        self.before = Spent()
        with contextlib.suppress(OSError, msgspec.DecodeError):  # what was spent is not worth a failure
            self.before = msgspec.json.decode(self._file.read_bytes(), type=Spent)

    def spent(self, test_evaluations: int) -> Spent:
        """Return what all attempts have cost by now, this one with all that its process did."""
        return Spent(
            round(self.before.seconds + time.monotonic() - self._began, 3),
            round(self.before.cpu_seconds + time.process_time(), 3),
            test_evaluations,
        )

    def note(self, test_evaluations: int) -> None:
        """Write down what was spent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._file, msgspec.json.encode(self.spent(test_evaluations)))

    def over(self) -> None:
        """Remove everything: the trial has an outcome, or cannot have one."""
        shutil.rmtree(self._home, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._home.parent.rmdir()
