"""Stores of encoded rows, and the cache that reuses a finished one when neither schema nor data have changed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clicksmith.encode.arrays import FORMAT
from clicksmith.encode.encoder import Encoder
from clicksmith.encode.fitting import Progress
from clicksmith.encode.recipe import side_tables
from clicksmith.encode.source import open_source
from clicksmith.encode.store import Store
from clicksmith.errors import ArtifactError
from clicksmith.files import locked
from clicksmith.identity import digest
from clicksmith.schema.schema import Schema

__all__ = ["Cached", "Store", "cached_encode", "cached_fit_encode"]


@dataclass(frozen=True)
class Cached:
    """An encoder with a store, and whether they were there already (`reused`) or have just been written.

    rows: the folder of the store, which other processes can open
    """

    encoder: Encoder
    store: Store
    reused: bool
    rows: Path
    """Where the store lies, for another process to open."""


def warn(text: str) -> None:
    """Warn; where nobody is told, this says what deserves a look."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def cached_fit_encode(
    schema: Schema,
    source: Any,
    cache: str | Path,
    *,
    tables: Mapping[str, Any] | None = None,
    root: str | Path = ".",
    progress: Progress | None = None,
    noted: Callable[[str], None] = warn,
) -> Cached:
    """Fit and encode training rows, or reuse what was made of the same schema and the same content before.

    The key is the SHA-256 of schema and content, never a date. A damaged cache is made again. While another process
    makes the same, this one waits for it, and says so to `noted` (a warning by default).
    """
    opened, given = open_source(source), side_tables(schema, tables or {}, Path(root))
    sides = {name: open_source(table).fingerprint() for name, table in given.items()}
    key = digest(["fit", FORMAT, schema.digest, opened.fingerprint(), sides])
    folder = Path(cache) / key[:32]
    with locked(folder, wait=True, noted=noted):
        try:
            encoder = Encoder.load(folder / "encoder", root=root)
            return Cached(encoder, Store.open(folder / "rows", verify=True), True, folder / "rows")
        except ArtifactError:
            _clear(folder)
            encoder, store = Encoder.fit_encode(
                schema, opened, folder / "rows", tables=tables, root=root, progress=progress
            )
            encoder.save(folder / "encoder")
            return Cached(encoder, store, False, folder / "rows")


def cached_encode(
    encoder: Encoder,
    source: Any,
    cache: str | Path,
    *,
    progress: Progress | None = None,
    noted: Callable[[str], None] = warn,
) -> Cached:
    """Encode rows with a fitted encoder, or reuse what was made of the same encoder and the same content before.

    While another process makes the same, this one waits, as in `cached_fit_encode`.
    """
    opened = open_source(source)
    key = digest(["encode", FORMAT, encoder.digest, opened.fingerprint()])
    folder = Path(cache) / key[:32]
    with locked(folder, wait=True, noted=noted):
        try:
            return Cached(encoder, Store.open(folder / "rows", verify=True), True, folder / "rows")
        except ArtifactError:
            _clear(folder)
            store = encoder.encode_to(opened, folder / "rows", progress=progress)
            return Cached(encoder, store, False, folder / "rows")


def _clear(folder: Path) -> None:
    """Remove what killed runs left; the folder is locked, so that no run is at work in it."""
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
