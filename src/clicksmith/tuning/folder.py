"""What lies in the folder of a search.

search.json      what was asked: model, space, what is fixed, data, seed, sampler, pruner
journal.log      every trial as it went, for Optuna
encoded/         the rows, encoded once
trials/          a folder per trial under way: its checkpoint, and what its process said
trials.json      all trials, best first; best.json the best of them; report.html the page
again_of_N/      in a benchmark: a search of the same kind, of those of N trials that are trained with another seed
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.errors import UsageError
from clicksmith.files import locked
from clicksmith.run import entered


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search was asked: trials of one folder answer one question."""

    model: str
    space: dict[str, Any]
    options: dict[str, Any]
    """Options of the model that are fixed."""
    settings: dict[str, Any]
    """Settings of training, where the search does not set them."""
    schema: str
    """Digest of the schema."""
    data: dict[str, str]
    """Content checksum of train and valid, and of each side table."""
    split: str
    seed: int
    sampler: str
    pruner: str


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """The paths of a search."""

    path: Path

    @property
    def record(self) -> Path:
        """What was asked."""
        return self.path / "search.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.path / "journal.log"

    @property
    def encoded(self) -> Path:
        """Encoded rows."""
        return self.path / "encoded"

    @property
    def trials(self) -> Path:
        """All trials."""
        return self.path / "trials.json"

    @property
    def best(self) -> Path:
        """The best trial."""
        return self.path / "best.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def trial(self, digest: str) -> Path:
        """Where a configuration is trained."""
        return self.path / "trials" / digest[:16]

    def enter(self, record: SearchRecord) -> bool:
        """Enter what is asked, and return whether the folder says so already.

        Raises UsageError: the folder holds another search, or something that is no search.
        """
        if self.path.is_file():
            raise UsageError(f"'{self.path}' is a file where a folder is to be written; choose another --out.")
        with locked(self.path, wait=True):
            strangers = [p.name for p in self.path.iterdir() if p.name not in (".lock", "encoded")]
            if strangers and not self.record.exists():
                raise UsageError(
                    f"'{self.path}' is not empty and holds no search (for example '{strangers[0]}'); "
                    "choose another --out."
                )
            return entered(self.record, record)

    def leave(self) -> None:
        """Take back what is asked if no trial was begun: it is no obstacle to the mended search."""
        with locked(self.path, wait=True):
            if not self.journal.exists():
                self.record.unlink(missing_ok=True)
