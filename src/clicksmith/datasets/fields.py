"""Id fields of which a tenth move the click rate: which fields a ranking should put first is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PlantedFields(NamedTuple):
    """Values of fields and clicks.

    codes: [rows, fields] a value's number from 0; labels: [rows] 0 or 1; relevant: the fields that move the click rate
    """

    codes: NDArray[np.int32]
    labels: NDArray[np.int64]
    relevant: set[int]


def planted_fields(rows: int = 16_384, fields: int = 200, *, effect: float = 0.25, seed: int = 0) -> PlantedFields:
    """Draw fields of 2 to 10,000 skewed values; a tenth add to the logit, per value a normal effect of that deviation.

    Sizes are uniform in the logarithm; the value of rank r is drawn like r to a power between -0.6 and -1.2.
    """
    random = np.random.default_rng(seed)
    codes, logit = np.empty((rows, fields), np.int32), np.full(rows, -1.5)
    relevant = set(random.permutation(fields)[: fields // 10].tolist())
    for f in range(fields):
        size = round(float(np.exp(random.uniform(np.log(2), np.log(10_000)))))
        often = 1 / np.arange(1, size + 1) ** random.uniform(0.6, 1.2)
        codes[:, f] = random.choice(size, rows, p=often / often.sum())
        if f in relevant:
            logit += random.normal(0, effect, size)[codes[:, f]]
    return PlantedFields(codes, (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64), relevant)
