"""Which rows train, validate and test: files as given, what is missing taken off the training rows."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.batch.split import Split, split_by_group, split_by_time, split_random
from clicksmith.encode.chunk import FrameChunk
from clicksmith.encode.source import Source, open_source
from clicksmith.encode.targets import group_texts, read_time
from clicksmith.encode.where import Where
from clicksmith.errors import DataError, UsageError
from clicksmith.fitting.chosen import Chosen
from clicksmith.schema import Schema, Time

How = Literal["auto", "random", "time", "group"]

LEAST = 20
"""Rows needed to take parts off."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of each part, and how they were told apart, in words."""

    train: Source
    valid: Source
    test: Source | None
    how: str
    split: Split | None = None
    """The row numbers, where parts were taken off the training rows."""

    def fingerprints(self) -> dict[str, str]:
        """Return the content checksum of each part."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part.fingerprint() for name, part in parts.items() if part is not None}


def parts_of(train: Any, valid: Any, test: Any, *, schema: Schema, how: How, seed: int) -> Parts:
    """Open the given data. Without `valid`, take it off the training rows, and `test` too where that is not given.

    With a time column the latest rows are taken ("auto" falls back to chance where times are missing or all equal),
    else rows by chance, from the seed and the row number alone.
    """
    source = open_source(train)
    given_test = None if test is None else open_source(test)
    if how != "auto" and valid is not None:
        raise UsageError(
            f"split='{how}' takes validation rows off the training rows, and they are given; leave one out."
        )
    if valid is not None:
        return Parts(source, open_source(valid), given_test, "files as given")
    if how == "time" and schema.time is None:
        raise UsageError("a split by time needs a time column, and the schema declares none; declare time=Time(...).")
    shares = {"train": 0.9, "valid": 0.1} if given_test is not None else {"train": 0.8, "valid": 0.1, "test": 0.1}
    split = None
    if schema.time is not None and how in ("auto", "time"):
        split = _by_time(source, schema.time, shares, strict=how == "time")
    words = f"the latest rows of {source.name} by '{schema.time.name}'" if split and schema.time else ""
    if how == "group":
        texts = _group_texts(source, schema)
        split = split_by_group(texts, shares=shares, seed=seed)
        if not all(split.record.parts.values()):
            raise DataError(
                f"{source.name}: '{schema.group}' has {texts.n_unique()} different groups, too few or too uneven to "
                f"give each of {', '.join(shares)} some; use --split random, or give files with --valid and --test."
            )
        words = f"whole groups of '{schema.group}' of {source.name} drawn by chance (seed {seed})"
    if split is None:
        split = split_random(_enough(source, _rows(source)), shares=shares, seed=seed)
        words = f"rows of {source.name} drawn by chance (seed {seed})"
    how_said = " and ".join(f"{shares[name]:.0%} {name}" for name in shares if name != "train") + f": {words}"
    taken = {name: Chosen(source, split[name], split.record.checksums[name]) for name in shares}
    return Parts(taken["train"], taken["valid"], taken.get("test", given_test), how_said, split)


def _by_time(source: Source, time: Time, shares: dict[str, float], *, strict: bool) -> Split | None:
    """Return the split by time, or None where it cannot be made and that is no error."""
    times = _times(source, time)
    _enough(source, len(times))
    if not strict and np.isnan(times).any():
        return None
    split = split_by_time(times, shares=shares)
    if all(split.record.parts.values()):
        return split
    if strict:
        raise DataError(f"{source.name}: too few different times in '{time.name}' to split by; use --split random.")
    return None


def _times(source: Source, time: Time) -> NDArray[np.float64]:
    if time.name not in source.columns:
        raise DataError(f"{source.name}: there is no time column '{time.name}'; add it, or change the schema.")
    columns: tuple[list[str], list[str]] = ([], [time.name]) if time.unit == "text" else ([time.name], [])
    times = [read_time(chunk, time) for group in source.chunks(*columns) for chunk in group]
    return np.concatenate(times) if times else np.zeros(0)


def _group_texts(source: Source, schema: Schema) -> pl.Series:
    if schema.group is None:
        raise UsageError("a split by group needs a group column, and the schema declares none; declare group=...")
    if schema.group not in source.columns:
        raise DataError(f"{source.name}: there is no group column '{schema.group}'; add it, or change the schema.")
    texts, rows = list[pl.Series](), 0
    for frame in source.batches([schema.group]):
        texts.append(group_texts(FrameChunk(frame, Where(source.name), rows), schema.group))
        rows += frame.height
    _enough(source, rows)
    return pl.concat(texts)


def _rows(source: Source) -> int:
    return sum(frame.height for frame in source.batches(source.columns[:1]))


def _enough(source: Source, rows: int) -> int:
    if rows < LEAST:
        raise DataError(
            f"{source.name} has {rows} rows, too few to take validation and test rows off; "
            f"give at least {LEAST}, or a file with --valid."
        )
    return rows
