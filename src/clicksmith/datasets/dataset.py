"""A data set: a schema, where its rows are, and what there is to know about them. Also one that a user declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import polars as pl

from clicksmith.batch.split import DEFAULT_SHARES, split_by_group, split_by_time, split_random
from clicksmith.encode.chunk import FrameChunk
from clicksmith.encode.frames import stacked
from clicksmith.encode.source import open_source
from clicksmith.encode.targets import group_texts, read_time
from clicksmith.encode.where import Where
from clicksmith.errors import DataError, SchemaError
from clicksmith.schema import Schema

Rows = str | list[str] | Path | pl.DataFrame
"""Anything `open_source` reads: a path, a pattern, paths, or a frame."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train, validate and test on, and what they mean.

    notes: what a reader of results must know; digests: SHA-256 of the content, by part
    root: the folder that side tables of the schema are relative to
    """

    name: str
    schema: Schema
    train: Rows
    valid: Rows | None = None
    test: Rows | None = None
    notes: tuple[str, ...] = ()
    root: Path = field(default_factory=Path)

    @property
    def parts(self) -> dict[str, Rows]:
        """The parts that there are."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: rows for name, rows in parts.items() if rows is not None}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the content of each part."""
        return {name: open_source(rows).fingerprint() for name, rows in self.parts.items()}

    def frame(self, part: str = "train") -> pl.DataFrame:
        """Return a part as one frame (cells of text files are text)."""
        if part not in self.parts:
            raise DataError(f"the data set '{self.name}' has no {part} rows; it has {', '.join(self.parts)}.")
        return _whole(self.parts[part])

    @staticmethod
    def from_toml(path: str | Path) -> Dataset:
        """Read a data set that a user declared in one TOML file.

            name = "shop"
            train = "clicks/*.csv"            # paths are relative to this file
            valid = "valid.csv"               # or [split], to take parts off train
            [split]
            how = "time"                      # "random", "time" or "group"
            seed = 0
            [split.shares]
            train = 0.8
            valid = 0.1
            test = 0.1
            [split.checksums]                 # optional: SHA-256 of the row numbers of a part
            test = "9f86d081884c7d65..."
            [schema]                          # or schema = "schema.json"
            label = {kind = "label", name = "click"}
            fields = [{kind = "categorical", name = "user_id", role = "user"}]

        Raises:
            SchemaError: a key is unknown or has the wrong type; the message says where.
            DataError: the file or its rows cannot be read.
        """
        path = Path(path)
        try:
            declared = msgspec.toml.decode(path.read_bytes(), type=Declared)
        except OSError as error:
            raise DataError(f"cannot read the data set '{path}': {error.strerror}.") from error
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise SchemaError(f"'{path}': {error}.") from error
        return _declared(declared, path)


class SplitChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How rows are split, and the row numbers that must come out of it."""

    how: str = "random"
    seed: int = 0
    shares: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_SHARES))
    checksums: dict[str, str] = {}
    """Part to SHA-256 of its row numbers, as in `SplitRecord`; compared where there is one."""


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a data set's TOML file holds."""

    train: str | list[str]
    schema: Schema | str
    name: str | None = None
    valid: str | list[str] | None = None
    test: str | list[str] | None = None
    split: SplitChoice | None = None
    notes: list[str] = []


def _declared(declared: Declared, path: Path) -> Dataset:
    root = path.parent
    schema = declared.schema if isinstance(declared.schema, Schema) else Schema.load(root / declared.schema)
    name, notes = declared.name or path.stem, tuple(declared.notes)
    train = _below(root, declared.train)
    if declared.split is None:
        valid, test = (None if p is None else _below(root, p) for p in (declared.valid, declared.test))
        return Dataset(name, schema, train, valid, test, notes, root)
    if declared.valid is not None or declared.test is not None:
        raise SchemaError(
            f"'{path}': [split] takes valid and test off train, but files are given for them. Keep one of both."
        )
    rows = _whole(train)
    parts = split_rows(rows, schema, declared.split, str(path))
    return Dataset(name, schema, parts["train"], parts.get("valid"), parts.get("test"), notes, root)


def split_rows(rows: pl.DataFrame, schema: Schema, choice: SplitChoice, where: str) -> dict[str, pl.DataFrame]:
    """Cut a frame into parts."""
    if "train" not in choice.shares or set(choice.shares) - {"train", "valid", "test"}:
        raise SchemaError(
            f"'{where}': split.shares names {', '.join(choice.shares)}; it needs train, and may have valid and test."
        )
    shares = {part: choice.shares[part] for part in ("train", "valid", "test") if part in choice.shares}
    if choice.how == "time":
        if schema.time is None:
            raise SchemaError(f"'{where}': a split by time needs a time column; declare [schema.time].")
        split = split_by_time(read_time(FrameChunk(rows, Where(where)), schema.time), shares=shares)
    elif choice.how == "group":
        if schema.group is None:
            raise SchemaError(f"'{where}': a split by group needs schema.group.")
        split = split_by_group(
            group_texts(FrameChunk(rows, Where(where)), schema.group), shares=shares, seed=choice.seed
        )
    elif choice.how == "random":
        split = split_random(rows.height, shares=shares, seed=choice.seed)
    else:
        raise SchemaError(f"'{where}': split.how is '{choice.how}'; it must be random, time or group.")
    made = split.record.checksums
    for name, expected in choice.checksums.items():
        got = made.get(name, "no such part")
        if got != expected:
            raise DataError(
                f"'{where}': the row numbers of {name} have SHA-256 {got}, expected {expected}. The rows, their order "
                "or the split have changed; restore them, or declare the sum anew."
            )
    return {name: rows[part] for name, part in split.parts.items()}


def _whole(rows: Rows) -> pl.DataFrame:
    return stacked(list(open_source(rows).batches()))


def _below(root: Path, paths: str | list[str]) -> str | list[str]:
    return str(root / paths) if isinstance(paths, str) else [str(root / path) for path in paths]
