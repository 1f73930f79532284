"""Which rows train, validate and test: random, by group, by time, or the last ones of each group; written as data.

Rows are ordered by a hash of our own (SplitMix64 of seed and row number, or of seed and the group's text), never by a
library's random stream: the same rows and seed give the same split with any version of any library.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from clicksmith.encode.hashing import splitmix64
from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.files import atomic_folder
from clicksmith.names import lookup

Rows = NDArray[np.int64]
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}


class SplitRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a split was made, and the checksum of each part's row numbers."""

    how: str
    rows: int
    seed: int | None
    parts: dict[str, int]
    """Rows of each part."""
    checksums: dict[str, str]
    """SHA-256 of each part's row numbers as little-endian int64."""


class Split:
    """Row numbers of each part, in rising order; no row is in two parts.

    parts: name -> [n] int64
    """

    def __init__(self, parts: Mapping[str, Rows], *, rows: int, how: str, seed: int | None = None) -> None:
        self.parts = {name: np.ascontiguousarray(np.sort(part), dtype="<i8") for name, part in parts.items()}
        counts = {name: len(part) for name, part in self.parts.items()}
        checksums = {name: hashlib.sha256(part.tobytes()).hexdigest() for name, part in self.parts.items()}
        self.record = SplitRecord(how, rows, seed, counts, checksums)

    def __getitem__(self, part: str) -> Rows:
        """Return the row numbers of a part."""
        return lookup(self.parts, part, "part of the split")

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same rows in the same parts."""
        return isinstance(other, Split) and self.record.checksums == other.record.checksums

    __hash__ = None  # type: ignore[assignment]

    def save(self, folder: str | Path) -> None:
        """Write `split.json` and one `.npy` of row numbers per part."""
        with atomic_folder(Path(folder)) as beside:
            for name, part in self.parts.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, part, allow_pickle=False)
                (beside / f"{name}.npy").write_bytes(buffer.getvalue())
            (beside / "split.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.record), indent=2) + b"\n")

    @staticmethod
    def load(folder: str | Path) -> Split:
        """Read a saved split and check its checksums."""
        folder = Path(folder)
        try:
            record = msgspec.json.decode((folder / "split.json").read_bytes(), type=SplitRecord)
            parts = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in record.parts}
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ArtifactError(f"'{folder}' does not hold a split: {str(error).splitlines()[0]}.") from error
        split = Split(parts, rows=record.rows, how=record.how, seed=record.seed)
        for name, expected in record.checksums.items():
            if split.record.checksums[name] != expected:
                raise ArtifactError(
                    f"'{folder}/{name}.npy' was altered: its checksum is not the one in split.json. Split again."
                )
        return split


def split_random(rows: int, *, shares: Mapping[str, float] = DEFAULT_SHARES, seed: int = 0) -> Split:
    """Put each row into a part by chance; the parts have exactly their shares, rounded."""
    keys = splitmix64(np.arange(rows, dtype=np.uint64), seed)
    order = np.argsort(keys, kind="stable")
    del keys
    return Split(_cut(order, shares), rows=rows, how="random", seed=seed)


def split_by_group(
    groups: ArrayLike | pl.Series, *, shares: Mapping[str, float] = DEFAULT_SHARES, seed: int = 0
) -> Split:
    """Put whole groups (users) into a part by chance, so that no group is in two parts.

    The groups are walked in the order of their hash and cut where the rows are nearest to the shares. A group's place
    depends on the seed and its value only.
    """
    names, member, sizes = _groups(groups)
    order = np.argsort(_text_keys(names, seed), kind="stable")
    ends = np.cumsum(sizes[order])
    edges = _edges(len(member), shares)
    starts = np.concatenate([[0], ends[:-1]])
    middle = (starts + ends) / 2
    part_of_group = np.empty(len(names), np.int64)
    part_of_group[order] = np.searchsorted(edges[1:-1], middle, side="right")
    part = part_of_group[member]
    parts = {name: np.flatnonzero(part == i) for i, name in enumerate(shares)}
    return Split(parts, rows=len(member), how="group", seed=seed)


def split_by_time(times: ArrayLike, *, shares: Mapping[str, float] = DEFAULT_SHARES) -> Split:
    """Put the earliest rows into the first part, the latest into the last; rows of one moment stay together.

    Raises DataError if a time is missing.
    """
    values = np.asarray(times, dtype=np.float64) if not isinstance(times, np.ndarray) else times
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DataError(
            f"row {int(np.flatnonzero(np.isnan(values))[0]) + 1} has no time; a split by time needs one in every row."
        )
    ordered = np.sort(values, kind="stable")
    edges = _edges(len(values), shares)
    bounds = [ordered[edge] if edge < len(ordered) else None for edge in edges[1:-1]]
    part = np.zeros(len(values), np.int64)
    for bound in bounds:
        if bound is not None:
            part += values >= bound
    parts = {name: np.flatnonzero(part == i) for i, name in enumerate(shares)}
    return Split(parts, rows=len(values), how="time")


def split_leave_last(
    groups: ArrayLike | pl.Series, times: ArrayLike | None = None, *, last: Sequence[str] = ("valid", "test")
) -> Split:
    """Put the latest row of each group into the last part, the one before into the part before; all others train.

    Without times the order of rows is that of time. A group with too few rows trains only.
    """
    _, member, sizes = _groups(groups)
    moment = np.arange(len(member)) if times is None else np.asarray(times)
    order = np.lexsort((np.arange(len(member)), moment, member))
    ends = np.cumsum(sizes)
    taken = sizes > len(last)
    parts: dict[str, Rows] = {}
    left = np.ones(len(member), bool)
    for back, name in enumerate(reversed(last), 1):
        rows = order[ends[taken] - back]
        parts[name] = rows
        left[rows] = False
    ordered = {"train": np.flatnonzero(left), **{name: parts[name] for name in last}}
    return Split(ordered, rows=len(member), how="leave last")


def _groups(groups: ArrayLike | pl.Series) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct groups in the order of their texts, the group of each row, and the rows of each group."""
    series = groups if isinstance(groups, pl.Series) else pl.Series(np.asarray(groups))
    texts = series.cast(pl.String).fill_null("")
    names = texts.unique().sort()
    member = texts.rank("dense").to_numpy().astype(np.int64) - 1
    return names.to_list(), member, np.bincount(member, minlength=len(names)).astype(np.int64)


def _text_keys(names: Sequence[str], seed: int) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8")


def _cut(order: Rows, shares: Mapping[str, float]) -> dict[str, Rows]:
    edges = _edges(len(order), shares)
    return {name: order[edges[i] : edges[i + 1]] for i, name in enumerate(shares)}


def _edges(rows: int, shares: Mapping[str, float]) -> list[int]:
    """Return the row counts at which the parts begin and end."""
    if not shares or any(share < 0 for share in shares.values()):
        raise UsageError(f"the shares of a split are {dict(shares)}; each must be at least 0.")
    total = sum(shares.values())
    if abs(total - 1) > 1e-9:
        raise UsageError(f"the shares of a split sum to {total:g}, not to 1: {dict(shares)}.")
    if rows == 0:
        raise DataError("there are no rows to split.")
    reached = np.cumsum([0.0, *shares.values()])
    return [round(rows * min(1.0, share)) for share in reached]
