"""Some rows of a store, as a store: nothing is copied, a row is found through its number."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.identity import digest


class Picked(Store):
    """The rows of `store` with the given numbers, in rising order."""

    def __init__(self, store: Store, numbers: NDArray[np.int64]) -> None:
        self._store, self._numbers = store, np.sort(numbers)
        self.layout = store.layout
        self.digest = digest([store.digest, hashlib.sha256(self._numbers.tobytes()).hexdigest()])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._numbers)

    def slice(self, start: int, stop: int) -> EncodedRows:
        """Return rows start <= row < stop."""
        return self._store.take(self._numbers[start:stop])

    def take(self, row_numbers: NDArray[Any]) -> EncodedRows:
        """Return copies of the rows with these numbers, in their order."""
        return self._store.take(self._numbers[row_numbers])

    @property
    def targets(self) -> Arrays:
        """Copies of the whole store's."""
        return {name: array[self._numbers] for name, array in self._store.targets.items()}

    def release(self) -> None:
        """Give the mapped pages back to the system."""
        self._store.release()
