"""The locked test set: opened after training and scored once, for what validation selected."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clicksmith.bench.fitted import Score
from clicksmith.encode.store import Store
from clicksmith.errors import DivergedError, UsageError


class LockedTest:
    """The encoded test rows of one trial.

    evaluations: how often they were scored for this configuration, in earlier attempts that failed too
    """

    def __init__(self, folder: Path, *, before: int = 0) -> None:
        self._folder, self._used = folder, False
        self.evaluations = before

    def score(self, score: Score) -> tuple[NDArray[np.float32], Store]:
        """Return the logits [rows] and the rows. Raises UsageError the second time, DivergedError if not finite."""
        if self._used:
            raise UsageError(
                "the test rows of this trial were evaluated already; they are scored once, for the weights that "
                "validation selected. Choose between models or settings on validation rows."
            )
        self._used = True
        self.evaluations += 1
        store = Store.open(self._folder)
        logits = score(store)
        if not np.isfinite(logits).all():
            raise DivergedError(f"{np.count_nonzero(~np.isfinite(logits))} of {store.rows} test logits are not finite.")
        return logits, store
