"""What is known of a published data set before it is here: files, checksums, rows, protocol, where to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from clicksmith.datasets.dataset import SplitChoice
from clicksmith.schema import Schema

Found = dict[str, Path]
"""The files of a data set, by the name in its specification."""
Frames = dict[str, pl.LazyFrame]
"""Rows by part: train, valid, test, and side tables by name; `rows` where they are still to be split."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: its part (or a name of its own), file name, and published MD5 sums (of the LF or the CRLF form)."""

    part: str
    name: str
    md5: tuple[str, ...] = ()
    rows: int | None = None
    needed: bool = True


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set that can be loaded by name.

    id: the official name, also of its folder and zip; folders: other names its folder may have
    schema: what the columns mean, by protocol; the first is the default
    prepare: makes the parts from the files where they are not used as they are; big: prepared parts go to disk
    split: how the rows that `prepare` makes are cut into parts, where the files are not parts already
    """

    name: str
    id: str
    files: tuple[DataFile, ...]
    schema: dict[str, Schema]
    about: str
    notes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    url: str | None = None
    manual: str = ""
    prepare: Callable[[Found], Frames] | None = None
    split: SplitChoice | None = None
    big: bool = False
    test_as_valid: bool = False


def bars_url(identity: str) -> str:
    """Return the official place of a BARS data set."""
    return f"https://huggingface.co/datasets/reczoo/{identity}/resolve/main/{identity}.zip"
