"""Loading a published data set by name: found in a folder or downloaded, checked, prepared as published."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from clicksmith.datasets.catalogue import DATASETS
from clicksmith.datasets.checksum import verify as verify_file
from clicksmith.datasets.dataset import Dataset, Rows, split_rows
from clicksmith.datasets.download import Progress, download, unpack
from clicksmith.datasets.spec import DatasetSpec, Found
from clicksmith.errors import StorageError
from clicksmith.files import atomic_file
from clicksmith.identity import digest
from clicksmith.names import lookup
from clicksmith.schema import Schema

FOLDER = "CLICKSMITH_DATA"
"""The environment variable with the folder of data sets."""


def load(
    name: str,
    folder: str | Path | None = None,
    *,
    protocol: str | None = None,
    fetch: bool = True,
    verify: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """Return a data set by name.

    Args:
        name: a key of `DATASETS`.
        folder: its folder, or one of data sets; else $CLICKSMITH_DATA, then ~/.cache/clicksmith/datasets.
        protocol: which published preprocessing, as in "criteo_x4_002".
        fetch: download it if it is not here.
        verify: compare the MD5 sums of files, and the row numbers of a split that is made here.

    Raises:
        UnknownNameError: no data set or protocol has that name.
        StorageError: it is not here and cannot be downloaded; the message has the steps by hand.
        DataError: a file is not the published one; the message has both sums.
    """
    spec = lookup(DATASETS, name, "data set")
    schema = lookup(spec.schema, protocol or next(iter(spec.schema)), f"protocol of {name}")
    found = find(spec, folder)
    if found is None:
        found = _fetched(spec, folder, fetch, progress)
    if verify:
        for file in spec.files:
            if file.part in found:
                verify_file(found[file.part], file.md5, file.rows)
    parts = _parts(spec, schema, found, verify)
    if spec.test_as_valid:
        parts["valid"] = parts["test"]
    root = found["train"].parent if "train" in found else Path()
    train, valid, test = parts["train"], parts.get("valid"), parts.get("test")
    return Dataset(name, schema, train, valid, test, (spec.about, *spec.notes), root)


def search_path(folder: str | Path | None = None) -> list[Path]:
    """Return the folders that are looked into."""
    if folder is not None:
        return [Path(folder)]
    named = os.environ.get(FOLDER)
    return [*([Path(named)] if named else []), Path.home() / ".cache" / "clicksmith" / "datasets"]


def find(spec: DatasetSpec, folder: str | Path | None = None) -> Found | None:
    """Return the files of a data set if all that are needed are in one folder (plain or .zst), else None."""
    for above in search_path(folder):
        for place in (above, *(above / name for name in (spec.id, spec.name, *spec.folders))):
            for inner in (place, place / spec.id):
                found = {file.part: path for file in spec.files if (path := _file(inner, file.name)) is not None}
                if found and all(file.part in found for file in spec.files if file.needed):
                    return found
    return None


def by_hand(spec: DatasetSpec, folder: str | Path | None) -> str:
    """Return the steps to get a data set by hand."""
    place = search_path(folder)[0] / spec.id
    names = ", ".join(file.name for file in spec.files if file.needed)
    if spec.url:
        get = f"On a machine with a network download {spec.url}"
        return f"{get}, unpack it so that {names} lie in '{place}', and run again."
    return f"{spec.manual} Put {names} into '{place}' and run again."


def _kin(spec: DatasetSpec, folder: str | Path | None) -> str:
    """Return a sentence naming data sets of the same family that are there, if any."""
    family = spec.name.partition("_")[0]
    kin = [s.name for s in DATASETS.values() if s is not spec and s.name.partition("_")[0] == family]
    there = [f"'{name}'" for name in kin if find(DATASETS[name], folder) is not None]
    return f" There is {' and '.join(there)}; load that by its name." if there else ""


def _fetched(spec: DatasetSpec, folder: str | Path | None, fetch: bool, progress: Progress | None) -> Found:
    looked = ", ".join(f"'{path}'" for path in search_path(folder))
    if spec.url is None or not fetch:
        raise StorageError(
            f"the data set '{spec.name}' is not in {looked}.{_kin(spec, folder)} {by_hand(spec, folder)}"
        )
    place = search_path(folder)[0]
    archive = place / f"{spec.id}.zip"
    try:
        if not archive.exists():
            download(spec.url, archive, progress=progress)
        unpack(archive, place / spec.id)
    except StorageError as error:
        raise StorageError(
            f"the data set '{spec.name}' is not in {looked}, and {error}{_kin(spec, folder)} {by_hand(spec, folder)}"
        ) from error
    found = find(spec, folder)
    if found is None:
        names = ", ".join(file.name for file in spec.files if file.needed)
        raise StorageError(f"'{archive}' was unpacked, but does not hold {names}. {by_hand(spec, folder)}")
    archive.unlink()
    return found


def _parts(spec: DatasetSpec, schema: Schema, found: Found, verify: bool) -> dict[str, Rows]:
    if spec.prepare is None:
        return {part: path for part, path in found.items() if part in ("train", "valid", "test")}
    if not spec.big:
        frames = {part: frame.collect() for part, frame in spec.prepare(found).items()}
        if spec.split is not None:
            choice = spec.split if verify else replace(spec.split, checksums={})
            frames |= split_rows(frames.pop("rows"), schema, choice, spec.name)
        return {**frames}
    sources = {part: [str(path), path.stat().st_size, path.stat().st_mtime_ns] for part, path in found.items()}
    key = digest([spec.name, sources])[:16]
    folder = _writable(found["train"].parent) / f"prepared-{spec.name}-{key}"
    frames = spec.prepare(found)
    for part, frame in frames.items():
        if not (folder / f"{part}.parquet").exists():
            with atomic_file(folder / f"{part}.parquet") as beside:
                frame.sink_parquet(beside)
    return {part: folder / f"{part}.parquet" for part in frames}


def _writable(folder: Path) -> Path:
    return folder if os.access(folder, os.W_OK) else search_path()[-1]


def _file(folder: Path, name: str) -> Path | None:
    try:
        return next((path for path in (folder / name, folder / f"{name}.zst") if path.is_file()), None)
    except OSError:
        return None
