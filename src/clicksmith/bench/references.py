"""Which tests hold the parts of a model to naive loops over rows, fields and numbers."""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.embed.sockets import Block
from clicksmith.parts import PARTS, Part


@cache
def references() -> Mapping[str, tuple[str, ...]]:
    """Return the tests by kind of part, as `tests/references.py` wrote them."""
    path = Path(__file__).with_name("references.json")
    return msgspec.json.decode(path.read_bytes(), type=dict[str, tuple[str, ...]])


def kinds_in(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds of the parts of a spec, as plain data, that build a module; each once, in the spec's order.

    A part of a user's own is taken to build one.
    """
    return tuple(dict.fromkeys(kind for kind in _kinds(spec) if hasattr(PARTS.get(kind, Block), "build")))


def paper_section(kind: str) -> str:
    """Return the section of its paper that a part's docstring names, "" if none.

    >>> paper_section("attention")
    'section 4.4'
    """
    found = re.search(r"section [\d.]*\d", inspect.getdoc(PARTS.get(kind, Part)) or "")
    return found[0] if found else ""


def _kinds(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("kind"), str):
            yield value["kind"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _kinds(inner)
