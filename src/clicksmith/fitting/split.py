"""Which rows train, validate and test: files as given, what is missing taken off the training rows."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.chunk import FrameChunk
from clicksmith.encode.source import Source, open_source
from clicksmith.encode.targets import read_time
from clicksmith.errors import DataError, UsageError
from clicksmith.fitting.chosen import Chosen
from clicksmith.identity import digest
from clicksmith.schema import Schema

How = Literal["auto", "random", "time"]

SHARE = 0.1
"""Share of the training rows that each missing part gets."""
LEAST = 20
"""Rows needed to take parts off."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of each part, and how they were told apart, in words."""

    train: Source
    valid: Source
    test: Source | None
    how: str

    def fingerprints(self) -> dict[str, str]:
        """Return the content checksum of each part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part.fingerprint() for name, part in parts.items() if part is not None}


def parts_of(train: Any, valid: Any, test: Any, *, schema: Schema, how: How, seed: int) -> Parts:
    """Open the given data; take valid and test off the training rows where neither is given, valid alone where it is missing.

    With a time column the latest rows are taken, else rows by a hash of seed and row number, so that a split depends
    on no library's random stream.
    """
    source = open_source(train)
    given_valid = None if valid is None else open_source(valid)
    given_test = None if test is None else open_source(test)
    if given_valid is not None:
        return Parts(source, given_valid, given_test, "files as given")
    missing = ["valid"] if given_test is not None else ["valid", "test"]
    if how == "time" and schema.time is None:
        raise UsageError("the split by time needs a time column, and the schema declares none; declare time=Time(...).")
    by_time = schema.time is not None and how != "random"
    rows = _by_time(source, schema, len(missing)) if by_time else _by_hash(source, schema, len(missing), seed)
    words = f"the latest by '{schema.time.name}'" if by_time and schema.time else f"at random, seed {seed}"
    how_said = f"{' and '.join(missing)}: {SHARE:.0%} each of {source.name}, {words}"
    identity = digest([how_said, *(len(part) for part in rows)])
    taken = [Chosen(source, part, f"{identity} {i}") for i, part in enumerate(rows)]
    return Parts(taken[0], taken[1], given_test if len(taken) == 2 else taken[2], how_said)


def _by_hash(source: Source, schema: Schema, parts: int, seed: int) -> list[NDArray[np.int64]]:
    count = sum(frame.height for frame in source.batches([_smallest(source, schema)]))
    _enough(source, count)
    order = np.argsort(_hashes(seed, count), kind="stable")
    return _cut(order, parts)


def _by_time(source: Source, schema: Schema, parts: int) -> list[NDArray[np.int64]]:
    time = schema.time
    assert time is not None
    if time.name not in source.columns:
        raise DataError(f"{source.name}: there is no time column '{time.name}'; add it, or change the schema.")
    times: list[NDArray[np.float64]] = []
    first = 0
    for frame in source.batches([time.name]):
        times.append(read_time(FrameChunk(frame, source.name, first), time))
        first += frame.height
    _enough(source, first)
    latest_first = np.argsort(-np.concatenate(times), kind="stable")
    newest, older = _cut(latest_first, 1)[1], latest_first
    if parts == 1:
        return [older[len(newest) :], newest]
    return [older[2 * len(newest) :], older[len(newest) : 2 * len(newest)], newest]


def _cut(order: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Return training rows, then each part, from the beginning of `order`."""
    size = max(1, round(len(order) * SHARE))
    return [order[parts * size :], *(order[i * size : (i + 1) * size] for i in range(parts))]


def _enough(source: Source, count: int) -> None:
    if count < LEAST:
        raise DataError(
            f"{source.name} has {count} rows, too few to take validation and test rows off; "
            f"give at least {LEAST}, or a file with --valid."
        )


def _smallest(source: Source, schema: Schema) -> str:
    label = schema.labels[0].name
    return label if label in source.columns else source.columns[0]


def _hashes(seed: int, count: int) -> NDArray[np.uint64]:
    """Return SplitMix64 of seed and row number: [count]."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(seed % (1 << 63)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
