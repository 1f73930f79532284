"""The manifest of an artefact: which format, and the size and SHA-256 of every file."""

from pathlib import Path, PurePosixPath

import msgspec

from clicksmith.errors import ArtifactError
from clicksmith.identity import digest, file_digest

FORMAT = 1
"""Raised when an older reader could no longer understand what is written."""

NAME = "manifest.json"


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file must be."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of an artefact by path relative to its folder; `identity` is the digest of all of them."""

    format: int
    clicksmith: str
    files: dict[str, FileRecord]
    identity: str


def write_manifest(folder: Path, version: str) -> Manifest:
    """Record every file under `folder` and write `manifest.json` beside them."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / NAME)
    files = {p.relative_to(folder).as_posix(): FileRecord(p.stat().st_size, file_digest(p)) for p in paths}
    manifest = Manifest(FORMAT, version, files, digest(files))
    (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return manifest


def verify(folder: Path, needed: tuple[str, ...] = ()) -> Manifest:
    """Return the manifest of `folder` after checking format, sizes and checksums of every file it lists.

    Raises ArtifactError: no artefact there, a newer format, a file missing, truncated or altered, a link, a file that
    is not listed, or one of the files `needed` not listed.
    """
    manifest = _read(folder)
    _check_listed(folder, manifest, needed)
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"'{name}' is missing in the artefact '{folder}'; copy the whole folder again.")
        size = path.stat().st_size
        if size < record.bytes:
            raise ArtifactError(
                f"'{path}' is truncated: {size} of {record.bytes} bytes are there; copy the whole folder again."
            )
        if size != record.bytes or file_digest(path) != record.sha256:
            raise ArtifactError(
                f"'{path}' was altered after it was saved (its SHA-256 differs from the manifest); "
                f"do not use it, fit or copy the artefact again."
            )
    return manifest


def outside(name: str) -> bool:
    """Return whether a file name may lead out of the folder it is to lie in."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts


def _check_listed(folder: Path, manifest: Manifest, needed: tuple[str, ...]) -> None:
    """Raise ArtifactError unless exactly the listed files are there, none behind a link: nothing unchecked is read."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ArtifactError(f"'{path}' is a link; an artefact holds files only. Copy the files themselves.")
        if not path.is_dir() and name != NAME and name not in manifest.files:
            raise ArtifactError(f"'{path}' does not belong to the artefact: {NAME} does not list it. Remove it.")
    for name in needed:
        if name not in manifest.files:
            raise ArtifactError(f"'{folder / NAME}' does not list '{name}', which every artefact has; fit it again.")


def _read(folder: Path) -> Manifest:
    path = folder / NAME
    if not folder.is_dir():
        raise ArtifactError(f"there is no artefact folder '{folder}'; give the folder that `clicksmith fit` wrote.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"'{folder}' is not an artefact: it has no readable {NAME}; give the folder that `clicksmith fit` wrote."
        ) from error
    try:
        written = msgspec.json.decode(content, type=_Format)
        if written.format > FORMAT:
            raise ArtifactError(
                f"'{folder}' was written by clicksmith {written.clicksmith} in format {written.format}; "
                f"this installation reads up to format {FORMAT}. Upgrade clicksmith."
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); copy the whole folder again.") from error
    if digest(manifest.files) != manifest.identity:
        raise ArtifactError(f"'{path}' was altered after it was saved; do not use it, fit or copy the artefact again.")
    if any(outside(name) for name in manifest.files):
        raise ArtifactError(f"'{path}' lists a file outside of its folder; do not use this artefact.")
    return manifest


class _Format(msgspec.Struct, frozen=True):
    """The two members that every format has."""

    format: int
    clicksmith: str
