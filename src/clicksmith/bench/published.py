"""Published leaderboards: BARS-CTR's figures, to stand beside what is measured (Zhu et al., SIGIR 2022).

Its released rows are single seeds, and of 114 that can be checked 111 are the trial that is best on the *test* rows; so
a row is compared with the trial that is best on validation, where the released logs tell its test AUC.
"""

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from clicksmith.datasets.catalogue import DATASETS

SOURCE = "BARS: single seed, test-selected unless its logs tell the test AUC of the trial best on validation rows"
FILE = Path(__file__).with_name("published.csv")
PUBLISHED = "published"
"""The protocol that keeps the published parts even where test rows are validation rows too; ends their name."""
REBUILT = "_rebuilt"
"""Ends the name of a stand-in for a published data set."""
ALIASES = {"youtubednn": "dnn", "finalnet": "finalnet2b", "apgdcnv2": "apg"}
"""What BARS calls models that have another name here; its FinalNet has two branches, and APG stands on DCN-V2."""


class Published(msgspec.Struct, frozen=True):
    """A line of a leaderboard; what the benchmark does not tell is None."""

    dataset: str
    model: str
    publication: str
    auc: float
    logloss: float | None
    gauc: float | None
    parameters: int | None
    log_auc: float | None
    """What the log of the published trial says; the leaderboard should say the same."""
    log_logloss: float | None
    auc_of_valid_best: float | None
    """Test AUC of the trial that is best on validation."""

    @property
    def reference(self) -> float:
        """Test AUC to compare with."""
        return self.auc if self.auc_of_valid_best is None else self.auc_of_valid_best


@cache
def leaderboards() -> Mapping[str, tuple[Published, ...]]:
    """Return data set to its published lines, as BARS names them."""
    found: dict[str, list[Published]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(file):
            line = msgspec.convert({k: v or None for k, v in cells.items()}, Published, strict=False)
            found.setdefault(line.dataset, []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def published(dataset: str) -> dict[str, Published]:
    """Return what is published of a data set of the benchmark, or of what it stands in for, by `plain` model name.

    Paper: bars.
    """
    name = dataset.removesuffix(REBUILT).removesuffix(f"_{PUBLISHED}")
    known = leaderboards()
    if name not in known and name in DATASETS:
        name = next(iter(DATASETS[name].schema))  # the first protocol has the data set's name here
    return {plain(line.model): line for line in known.get(name, ())}


def plain(model: str) -> str:
    """Return a model's name without what writers of it differ in.

    >>> plain("DCN-V2"), plain("dcnv2"), plain("AutoInt+"), plain("autoint_plus"), plain("YoutubeDNN")
    ('dcnv2', 'dcnv2', 'autointplus', 'autointplus', 'dnn')
    """
    name = re.sub("[^a-z0-9]", "", model.lower().replace("+", "plus"))
    return ALIASES.get(name, name)
