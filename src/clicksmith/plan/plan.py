"""`Plan`: what searches found, as a value; JSON with side files for long arrays."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import ArtifactError, ClicksmithError, UsageError
from clicksmith.files import write_bytes
from clicksmith.identity import digest
from clicksmith.plan.arrays import Array, array_of
from clicksmith.plan.parts import FIRST, AnyPart, IdMaps, KeptFeatures

VERSION = 1
CHOICES = {
    "kind": "; known are fields, maps, features, columns, ranks, pairs",
    "op": "; known are memorise and factorise, and a naive pair is not named",
    "index": "; known are exact and hash",
    "dropped_to": "; known are zero and unseen",
}
"""What a text of a Plan may be, by its name."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parts in the order in which they act. An empty Plan changes nothing.

    >>> Plan().parts
    ()
    """

    parts: tuple[AnyPart, ...] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check every part. Raises UsageError naming part and slot."""
        for part in self.parts:
            part.check()

    @property
    def digest(self) -> str:
        """SHA-256 of the content, wherever its arrays lie; who found a part takes no part in it."""
        plain: Any = msgspec.to_builtins(self, enc_hook=_digest_of, str_keys=True)
        for part in plain["parts"]:
            part.pop("found_by")
        return digest(plain)

    @property
    def mapped(self) -> frozenset[str]:
        """The slots whose ids are mapped to shared rows."""
        return frozenset(slot for part in self.parts if isinstance(part, IdMaps) for slot in part.slots)

    def summary(self) -> list[str]:
        """Return what the Plan says, a line per part and vocabulary; what two parts say alike is said once."""
        return list(dict.fromkeys(line for part in self.parts for line in part.lines())) + self._kept_by_all()

    def _kept_by_all(self) -> list[str]:
        """Return how many features are kept where several parts choose among the same ones."""
        masks: dict[tuple[str, str, int], list[NDArray[Any]]] = {}
        for part in self.parts:
            for slot, kept in part.slots.items() if isinstance(part, KeptFeatures) else ():
                masks.setdefault((slot, part.numbering[slot], len(kept.values)), []).append(kept.values[FIRST:])
        both = [np.logical_and.reduce(several) for several in masks.values() if len(several) > 1]
        if not both:
            return []
        stay, known = sum(int(mask.sum()) for mask in both), sum(len(mask) for mask in both)
        return [f"of what several parts choose among: {stay:,} of {known:,} features kept ({stay / max(1, known):.1%})"]

    def save(self, path: str | Path) -> None:
        """Write the Plan as JSON at `path`, and its long arrays into the folder `arrays_of(path)`."""
        path = Path(path)
        folder = arrays_of(path)
        plain = msgspec.to_builtins(self, enc_hook=lambda array: array.plain(folder), str_keys=True)
        write_bytes(path, msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Read a Plan: its JSON file, or the folder of a run or model that was made under it.

        Raises ArtifactError: it is damaged, newer, or a file of its arrays is missing or altered; a folder has none.
        """
        path = _file_of(Path(path))
        try:
            plain: Any = msgspec.json.decode(content := path.read_bytes())
            twice = _said_twice(content)
        except OSError as error:
            raise ArtifactError(f"cannot read the Plan '{path}': {error.strerror}.") from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArtifactError(f"the Plan '{path}' is damaged: {error}. Write it again.") from error
        if twice:
            raise ArtifactError(f"the Plan '{path}' says '{twice}' twice in one place; leave one of the two.")
        if not isinstance(plain, dict) or "parts" not in plain:
            raise ArtifactError(f"'{path}' is no Plan: it has no parts. `clicksmith search` and `rank` write Plans.")
        if plain.get("version", VERSION) != VERSION:
            raise ArtifactError(
                f"the Plan '{path}' is of version {plain['version']}; this installation reads version {VERSION}. "
                "Upgrade clicksmith."
            )
        return plan_of(plain, arrays_of(path), f"the Plan '{path}'")


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for file in (path / "plan.json", path / "model" / "plan.json"):
        if file.is_file():
            return file
    raise ArtifactError(
        f"the folder '{path}' holds no Plan: name the JSON file of one, or a run that was made under one."
    )


def _said_twice(content: bytes) -> str:
    """Return the first name that some object of the JSON has twice, of which a reader would take the last."""
    found: list[str] = []

    def seen(pairs: list[tuple[str, Any]]) -> None:
        found.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    json.loads(content, object_pairs_hook=seen)
    return found[0] if found else ""


def _damaged(plain: Any, folder: Path | None) -> str:
    """Return which part and vocabulary the first array is of that cannot be read."""
    for place, part in enumerate(plain["parts"], 1):
        slots = part.get("slots") if isinstance(part, dict) else None
        for slot, value in slots.items() if isinstance(slots, dict) else ():
            found = [value, *value.values()] if isinstance(value, dict) else []
            for one in found:
                if not isinstance(one, dict) or "sha256" not in one:
                    continue
                try:
                    array_of(one, folder)
                except ArtifactError:
                    return f", part {place}, vocabulary '{slot}'"
    return ""


def arrays_of(path: Path) -> Path:
    """Return the folder with the long arrays of the Plan at `path`."""
    return path.with_name(path.name + ".arrays")


def plan_of(plain: Any, folder: Path | None, where: str = "the Plan") -> Plan:
    """Return the Plan of decoded JSON."""
    try:
        return msgspec.convert(plain, Plan, dec_hook=lambda _, value: array_of(value, folder))
    except msgspec.ValidationError as error:
        own = error.__cause__
        if isinstance(own, ArtifactError):
            raise ArtifactError(f"{where}{_damaged(plain, folder)}: {own}") from None
        if isinstance(own, ClicksmithError):
            raise UsageError(f"{where}: {own}") from None
        known = next((said for end, said in CHOICES.items() if str(error).endswith(f".{end}`")), "")
        raise ArtifactError(
            f"{where} does not fit: {error}{known}. Correct it there, or write the Plan again."
        ) from error


def _digest_of(value: Any) -> str:
    assert isinstance(value, Array)
    return value.digest
