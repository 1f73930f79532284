"""Identities: SHA-256 over canonical JSON for values, over bytes for files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON with sorted keys and no spaces; equal values give equal bytes.

    Structs are converted first. NaN and infinity are refused, because they are not JSON.
    """
    plain = msgspec.to_builtins(value, str_keys=True)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical_json(value)` as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's bytes as hex, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
