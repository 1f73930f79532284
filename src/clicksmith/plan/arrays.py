"""Arrays inside a Plan: compared by content; short ones lie in the JSON, long ones in files beside it."""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import ArtifactError
from clicksmith.files import write_bytes

INLINE = 8192
"""Bytes up to which an array is written into the JSON."""
_KINDS = {"bits": np.dtype(np.bool_), "int32": np.dtype("<i4")}


class Array:
    """A one-dimensional array of bits or of int32, which does not change."""

    def __init__(self, values: NDArray[Any]) -> None:
        kind = "bits" if values.dtype == np.bool_ else "int32"
        self.kind = kind
        self.values = np.array(values, dtype=_KINDS[kind]).reshape(-1)
        self.values.setflags(write=False)

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def content(self) -> bytes:
        """The bytes that are written; eight bits to a byte."""
        return np.packbits(self.values).tobytes() if self.kind == "bits" else self.values.tobytes()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of kind, length and content."""
        return hashlib.sha256(f"{self.kind} {len(self)} ".encode() + self.content).hexdigest()

    def plain(self, folder: Path | None) -> dict[str, Any]:
        """Return the array as JSON; a long one is written into `folder`, if there is one."""
        told: dict[str, Any] = {"kind": self.kind, "length": len(self), "sha256": self.digest}
        if folder is None or len(self.content) <= INLINE:
            return {**told, "base64": base64.b64encode(self.content).decode()}
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.digest}.bin"
        write_bytes(folder / name, self.content)  # also where one lies: it may be damaged
        return {**told, "file": name}


def array_of(plain: Any, folder: Path | None) -> Array:
    """Read what `Array.plain` wrote. Raises ArtifactError: its file is missing or damaged, or it is no array."""
    told = cast("dict[str, Any]", plain) if isinstance(plain, dict) else {}
    where = f"its array '{folder / str(told['file'])}'" if folder and "file" in told else "one of its arrays"
    kind, length = told.get("kind"), told.get("length")
    if kind not in _KINDS or not isinstance(length, int) or length < 0:
        raise ArtifactError(f"{where} is damaged: it has no kind and length. Write the Plan again.")
    content = _content(told, folder, where)
    size = -(-length // 8) if kind == "bits" else 4 * length
    if len(content) != size:
        raise ArtifactError(f"{where} is damaged: {len(content)} bytes instead of {size}. Write the Plan again.")
    if kind == "bits":
        values = np.unpackbits(np.frombuffer(content, np.uint8), count=length).astype(np.bool_)
    else:
        values = np.frombuffer(content, "<i4")
    found = Array(values)
    if found.digest != told.get("sha256"):
        raise ArtifactError(f"{where} is damaged: its checksum is not the one recorded. Write the Plan again.")
    return found


def _content(told: dict[str, Any], folder: Path | None, where: str) -> bytes:
    if "base64" in told:
        try:
            return base64.b64decode(str(told["base64"]), validate=True)
        except ValueError as error:
            raise ArtifactError(f"{where} is damaged: {error}. Write the Plan again.") from error
    name = str(told.get("file", ""))
    if folder is None or Path(name).name != name or not name:
        raise ArtifactError(f"{where} has no content. Copy the Plan's folder of arrays together with it.")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read its array '{folder / name}': {error.strerror}. "
            "Copy the Plan together with its folder of arrays."
        ) from error
