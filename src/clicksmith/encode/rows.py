"""Encoded rows as numpy arrays: what an encoder gives, a store holds, and a batch is made of."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Columns of the same rows, laid out as the encoder's `Layout` says. Arrays may be memory-mapped views.

    Shape (n rows, u histories):
        ids:       [n, columns] int32
        numeric:   [n, columns] float32, NaN where missing
        bags:      name -> [n, length] int32
        vectors:   name -> [n, dim] float32
        histories: name -> [u, time, columns] int32, newest last, 0 at the front
        owner:     [n] int32 into the histories, or None if history i belongs to row i
        domain:    [n] int32 or None
        labels:    [n, labels] float32 or None (rows to be scored have none)
        weight, time: [n] or None
        group:     [n] int64 or None, any integers equal for rows of one group
    """

    ids: NDArray[np.int32]
    numeric: NDArray[np.float32]
    bags: dict[str, NDArray[np.int32]] = field(default_factory=dict[str, NDArray[np.int32]])
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])
    histories: dict[str, NDArray[np.int32]] = field(default_factory=dict[str, NDArray[np.int32]])
    owner: NDArray[np.int32] | None = None
    domain: NDArray[np.int32] | None = None
    labels: NDArray[np.float32] | None = None
    weight: NDArray[np.float32] | None = None
    time: NDArray[np.float64] | None = None
    group: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return self.ids.shape[0]
