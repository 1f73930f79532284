"""A folder of arrays: one raw file each, row-major, appended to, described and checksummed in `manifest.json`.

Read back as memory-mapped views. Whole folders are written beside and renamed (`files.atomic_folder`) by who owns them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import ArtifactError
from clicksmith.files import storage_error

Arrays = dict[str, NDArray[Any]]
FORMAT = 1


class ArrayFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array: its file, type, shape and the SHA-256 of its bytes."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of arrays holds, and what its owner noted."""

    kind: str
    arrays: dict[str, ArrayFile]
    note: dict[str, Any]
    format: int = FORMAT


DTYPES = frozenset({"<i4", "<i8", "<f4", "<f8", "|u1", "|b1"})
"""What is read from disk; an array of objects would take the file's bytes as addresses."""


class ArrayWriter:
    """Appends rows to arrays in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, tuple[BinaryIO, Any, str, tuple[int, ...]]] = {}
        self._rows: dict[str, int] = {}

    def append(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Append rows to each named array. Raises StorageError when the disk is full."""
        for name, array in arrays.items():
            array = np.ascontiguousarray(array)
            if name not in self._open:
                path = self.folder / f"{len(self._open):03d}.bin"
                self._open[name] = (path.open("wb", buffering=0), hashlib.sha256(), array.dtype.str, array.shape[1:])
                self._rows[name] = 0
            file, state, _, _ = self._open[name]
            data = array.data.cast("B") if array.size else memoryview(b"")
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
            except OSError as error:
                raise storage_error(error, self.folder) from error
            state.update(data)
            self._rows[name] += array.shape[0]

    def finish(self, kind: str, note: Mapping[str, Any]) -> None:
        """Close the files and write the manifest."""
        found: dict[str, ArrayFile] = {}
        for name, (file, state, dtype, shape) in self._open.items():
            file.close()
            found[name] = ArrayFile(Path(file.name).name, dtype, (self._rows[name], *shape), state.hexdigest())
        text = msgspec.json.format(msgspec.json.encode(Manifest(kind, found, dict(note))), indent=1)
        try:
            (self.folder / "manifest.json").write_bytes(text)
        except OSError as error:
            raise storage_error(error, self.folder) from error

    def close(self) -> None:
        """Close the files without a manifest."""
        for file, *_ in self._open.values():
            file.close()


@contextmanager
def writing(folder: Path) -> Generator[ArrayWriter]:
    """Yield a writer whose files are closed in any case."""
    writer = ArrayWriter(folder)
    try:
        yield writer
    finally:
        writer.close()


def read_manifest(folder: Path, kind: str) -> Manifest:
    """Return the manifest of a folder of arrays, checking kind, format and the files' sizes."""
    path = folder / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ArtifactError(
            f"'{folder}' is not a finished {kind}: '{path.name}' is missing. Write it again."
        ) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactError(f"'{path}' is damaged: {error}. Write it again.") from error
    if manifest.kind != kind:
        raise ArtifactError(f"'{folder}' holds a {manifest.kind}, not a {kind}.")
    if manifest.format > FORMAT:
        raise ArtifactError(
            f"'{folder}' has format {manifest.format}; this version reads up to {FORMAT}. Update clicksmith."
        )
    for name, entry in manifest.arrays.items():
        if entry.dtype not in DTYPES or min(entry.shape, default=0) < 0:
            raise ArtifactError(
                f"'{path}' is damaged: array '{name}' of type {entry.dtype!r} and shape {list(entry.shape)} is none "
                "that clicksmith writes. Write it again."
            )
        file = folder / entry.file
        bytes_ = int(np.prod(entry.shape)) * np.dtype(entry.dtype).itemsize
        if Path(entry.file).name != entry.file or not file.is_file() or file.stat().st_size != bytes_:
            raise ArtifactError(
                f"'{file}' ({name}) is missing or truncated: {bytes_:,} bytes are expected. Write it again."
            )
    return manifest


def read_arrays(folder: Path, manifest: Manifest, *, verify: bool) -> Arrays:
    """Return the arrays as memory-mapped views; `verify` compares every checksum first."""
    found: Arrays = {}
    for name, entry in manifest.arrays.items():
        file = folder / entry.file
        if verify:
            with file.open("rb") as opened:
                actual = hashlib.file_digest(opened, "sha256").hexdigest()
            if actual != entry.sha256:
                raise ArtifactError(
                    f"'{file}' ({name}) is damaged: its checksum differs from the manifest's. Write it again."
                )
        if 0 in entry.shape:
            found[name] = np.zeros(entry.shape, np.dtype(entry.dtype))
        else:
            mapped = np.memmap(file, np.dtype(entry.dtype), "c", shape=entry.shape)  # torch wants writable memory
            found[name] = mapped.view(np.ndarray)
    return found
