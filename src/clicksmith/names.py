"""Looking things up by name, with the nearest name in the error."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from clicksmith.errors import UnknownNameError

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return `table[name]`, or raise `UnknownNameError` naming the nearest key."""
    try:
        return table[name]
    except KeyError:
        raise UnknownNameError(unknown(name, table, kind)) from None


def unknown(name: str, known: Iterable[str], kind: str, prefix: str = "") -> str:
    """Return the sentence for a name that is not known: the nearest one, else all of them.

    prefix: stands before every name that is shown, and does not make two of them alike.
    """
    known = sorted(known)
    near = nearest(name, known)
    hint = f"Did you mean '{prefix}{near}'?" if near else f"Known: {', '.join(prefix + name for name in known)}."
    return f"no {kind} named '{prefix}{name}'. {hint}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that may have been meant."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5) or [k for k in known if k.lower() == name.lower()]
    return near[0] if near else None
