"""A search space as a value: what is tried for `model.NAME` (an option) and `train.NAME` (a setting).

In a file, a list is tried value by value, a table is a range, and anything else is fixed:

    [model]
    dim = [8, 16]
    units = [[400, 400], [200]]
    dropout = {low = 0.0, high = 0.5}
    [train]
    learning_rate = {low = 1e-4, high = 1e-2, log = true}
    epochs = 5
"""

import json
import math
import types
import typing
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.errors import UsageError
from clicksmith.names import unknown

PREFIXES = ("model", "train")


class Choice(msgspec.Struct, frozen=True, tag="choice"):
    """One of some values; of one value alone, it is fixed."""

    values: tuple[Any, ...]

    def stored(self, value: Any) -> Any:
        """Return a value as a search stores it: text, number or None."""
        plain = isinstance(value, (str, int, float)) or value is None
        return value if plain else json.dumps(msgspec.to_builtins(value), separators=(",", ":"))

    def value(self, stored: Any) -> Any:
        """Return the value that was stored."""
        return next(value for value in self.values if self.stored(value) == stored)


class Range(msgspec.Struct, frozen=True, tag="range"):
    """A number between two, both included; `log` draws its logarithm evenly, `whole` draws whole numbers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def stored(self, value: Any) -> Any:
        """Return a value as a search stores it."""
        return value

    def value(self, stored: Any) -> Any:
        """Return the value that was stored."""
        return int(stored) if self.whole else stored


Dimension = Choice | Range
Space = dict[str, Dimension]


def space_of(declared: Mapping[str, Any], hints: Mapping[str, Mapping[str, Any]], where: str) -> Space:
    """Return the space that nested values declare; `hints` are the types by prefix and name.

    Raises UsageError for a name that is unknown (naming the nearest) or a value that is not of the name's type.
    """
    space: Space = {}
    for prefix, entries in declared.items():
        if prefix not in hints:
            raise UsageError(f"{where}: {unknown(prefix, hints, 'section')}")
        if not isinstance(entries, Mapping):
            raise UsageError(f"{where}: '{prefix}' is {entries!r}; write a section, [{prefix}].")
        for name, value in typing.cast("Mapping[str, Any]", entries).items():
            if name not in hints[prefix]:
                raise UsageError(f"{where}: {unknown(name, hints[prefix], f'option of [{prefix}]')}")
            space[f"{prefix}.{name}"] = _dimension(value, hints[prefix][name], f"{where}: {prefix}.{name}")
    return space


def read_space(path: str | Path, hints: Mapping[str, Mapping[str, Any]]) -> Space:
    """Return the space of a TOML file; what it does not name is not searched."""
    try:
        declared = msgspec.toml.decode(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}; give a TOML file that declares a space.") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"'{path}' is not TOML ({error}).") from error
    return space_of(declared, hints, f"'{path}'")


def space_text(space: Space) -> str:
    """Return the space as TOML, the file that `read_space` reads.

    >>> print(space_text({"model.dim": Choice((8, 16)), "train.learning_rate": Range(1e-4, 1e-2, log=True)}))
    [model]
    dim = [8, 16]
    <BLANKLINE>
    [train]
    learning_rate = {low = 0.0001, high = 0.01, log = true}
    """
    sections: list[str] = []
    for prefix in PREFIXES:
        lines = [f"{n.partition('.')[2]} = {_toml(d)}" for n, d in space.items() if n.startswith(f"{prefix}.")]
        if lines:
            sections.append("\n".join([f"[{prefix}]", *lines]))
    return "\n\n".join(sections)


def grid_of(space: Space) -> list[dict[str, Any]]:
    """Return every combination of the values, the last name varying fastest.

    >>> grid_of({"model.dim": Choice((8, 16)), "model.layers": Range(1, 2, whole=True)})[1]
    {'model.dim': 8, 'model.layers': 2}
    """
    axes: list[tuple[Any, ...]] = []
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            axes.append(dimension.values)
        elif dimension.whole and not dimension.log:
            axes.append(tuple(range(int(dimension.low), int(dimension.high) + 1)))
        else:
            raise UsageError(
                f"a grid needs lists, and {name} is a range from {dimension.low:g} to {dimension.high:g}; "
                "give lists in a file with --space, or use another --sampler."
            )
    return [dict(zip(space, values, strict=True)) for values in product(*axes)]


def _dimension(value: Any, hint: Any, where: str) -> Dimension:
    if isinstance(value, Mapping):
        return _range(typing.cast("Mapping[str, Any]", value), hint, where)
    if not isinstance(value, (list, tuple)):
        return Choice((_converted(value, hint, where),))
    values = tuple(_converted(item, hint, where) for item in typing.cast("list[Any]", value))
    if not values:
        raise UsageError(f"{where} is an empty list; give at least one value, or leave it out.")
    if len({json.dumps(msgspec.to_builtins(v)) for v in values}) < len(values):
        raise UsageError(f"{where} lists a value twice; name each once.")
    return Choice(values)


def _range(value: Mapping[str, Any], hint: Any, where: str) -> Range:
    one_of = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = set(typing.get_args(hint)) if one_of else {hint}
    if not kinds & {int, float}:
        raise UsageError(f"{where} is a range, and the option is no number; give a list of values.")
    stray = value.keys() - {"low", "high", "log"}
    if stray:
        raise UsageError(f"{where}: {unknown(next(iter(stray)), ('low', 'high', 'log'), 'key of a range')}")
    try:
        found = msgspec.convert({"type": "range", **value, "whole": float not in kinds}, Range)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}; write {{low = 0.1, high = 0.5}}, and log = true where it fits.") from error
    if not -math.inf < found.low < found.high < math.inf or (found.log and found.low <= 0):
        raise UsageError(
            f"{where} goes from {found.low:g} to {found.high:g}; low must be less than high"
            + (", and above 0 with log = true." if found.log else ".")
        )
    if found.whole and not (found.low.is_integer() and found.high.is_integer()):
        raise UsageError(f"{where} goes from {found.low:g} to {found.high:g}; the option takes whole numbers.")
    return found


def _converted(value: Any, hint: Any, where: str) -> Any:
    try:
        return msgspec.convert(value, hint)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"{where}: {error}; got {value!r}.") from error


def _toml(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return json.dumps(msgspec.to_builtins(list(dimension.values)), ensure_ascii=False)
    low, high = (str(int(v)) if dimension.whole else repr(v) for v in (dimension.low, dimension.high))
    return f"{{low = {low}, high = {high}{', log = true' if dimension.log else ''}}}"
