"""Parts: the frozen values a model spec is made of, and their JSON form.

A part is a `msgspec.Struct` that describes one piece of a model and has a `build` method that makes the `nn.Module`.
It is written as `{"kind": "<name>", <every field>}`: a registered name, never a module path, so that reading one
cannot run code that was not imported already. Spec -> JSON -> spec is equality.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, Union

import msgspec

from clicksmith.errors import ClicksmithError, CompositionError, SchemaError, UsageError
from clicksmith.names import lookup, unknown

PARTS: dict[str, type["Part"]] = {}


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part. The kind is the class name in snake case, or `kind="..."` as a class attribute.

    Subclasses list their fields with defaults; a nested part is a field annotated with `Part` or a subclass, several
    are a tuple of them.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Enter the class under its kind; two classes of one kind are an error."""
        super().__init_subclass__(**options)
        kind = kind_of(cls)
        if "kind" in inspect.get_annotations(cls):
            raise CompositionError(
                f"part '{kind}' has an option named 'kind', which JSON needs itself; rename the option."
            )
        known = PARTS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise CompositionError(
                f"a part of kind '{kind}' exists already ({known.__module__}.{known.__qualname__}); "
                f"rename {cls.__module__}.{cls.__qualname__}."
            )
        PARTS[kind] = cls


P = TypeVar("P", bound=Part)


def kind_of(cls: type[Part]) -> str:
    """Return the name a part is registered under: `LowRankCross` is 'low_rank_cross'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()


def walk(value: Any) -> Iterator[Part]:
    """Yield a part and all parts in it, whatever else it holds."""
    if isinstance(value, Part):
        yield value
        for name in value.__struct_fields__:
            yield from walk(getattr(value, name))
    elif isinstance(value, tuple):
        for item in typing.cast("tuple[Any, ...]", value):
            yield from walk(item)


def to_plain(value: Any) -> Any:
    """Return a part (or a tuple of parts) as dicts, lists and scalars, every field written out."""
    if isinstance(value, Part):
        fields = {name: to_plain(getattr(value, name)) for name in value.__struct_fields__}
        return {"kind": kind_of(type(value)), **fields}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in typing.cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in typing.cast("Mapping[str, Any]", value).items()}
    return msgspec.to_builtins(value)


def from_plain(value: Any, where: str = "$") -> Any:
    """Return the part that `to_plain` wrote.

    Raises:
        UnknownNameError: the kind is not registered.
        SchemaError: a field is unknown or has the wrong type; the message says where, as in `$.interact.units`.
    """
    if not isinstance(value, Mapping) or "kind" not in value:
        raise SchemaError(f"{where}: expected a part, an object with a 'kind'; got {value!r}.")
    cls = lookup(PARTS, str(typing.cast("Mapping[str, Any]", value)["kind"]), "part")
    hints = typing.get_type_hints(cls)
    fields: dict[str, Any] = {}
    for name, item in typing.cast("Mapping[str, Any]", value).items():
        if name == "kind":
            continue
        if name not in cls.__struct_fields__:
            raise SchemaError(f"{where}: {unknown(name, cls.__struct_fields__, f'option of {kind_of(cls)}')}")
        fields[name] = _field(item, hints[name], f"{where}.{name}")
    try:
        return cls(**fields)
    except TypeError as error:
        raise SchemaError(f"{where}: {error}.") from error


def edited(part: P, changes: Mapping[str, Any], said: str = "") -> P:
    """Return a part with values within it changed by path: `{"embed.table.std": 0.1}`; a number selects from a tuple.

    said: stands before a path in messages, as in `--set `.
    Raises UsageError: a path leads nowhere, or a value does not fit there.
    """
    if not changes:
        return part
    plain = to_plain(part)
    for path, value in changes.items():
        steps = path.split(".")
        place = plain
        for depth, step in enumerate(steps[:-1], 1):
            place = place[_step(place, step, said + ".".join(steps[:depth]))]
        place[_step(place, steps[-1], said + path)] = value
    try:
        return from_plain(plain)
    except ClicksmithError as error:
        raise UsageError(f"{said}{', '.join(changes)}: {error}") from error


def _step(place: Any, step: str, where: str) -> Any:
    if isinstance(place, list):
        length = len(typing.cast("list[Any]", place))
        if not step.isdigit() or int(step) >= length:
            raise UsageError(f"{where}: '{step}' is not a position; there are {length}.")
        return int(step)
    options = typing.cast("dict[str, Any]", place) if isinstance(place, dict) else {}
    if step not in options or step == "kind":
        raise UsageError(f"{where}: {unknown(step, [key for key in options if key != 'kind'], 'option')}")
    return step


def _field(value: Any, hint: Any, where: str) -> Any:
    if _holds_parts(hint):
        if value is None:
            return None
        if isinstance(value, (list, tuple)):
            return tuple(_part(item, hint, f"{where}[{i}]") for i, item in enumerate(typing.cast("list[Any]", value)))
        return _part(value, hint, where)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise SchemaError(f"{where}: {error}; got {value!r}.") from error


def _part(value: Any, hint: Any, where: str) -> Part:
    part = from_plain(value, where)
    if not isinstance(part, tuple(leaf for leaf in _leaves(hint) if isinstance(leaf, type))):
        raise SchemaError(f"{where}: a {kind_of(type(part))} does not fit here.")
    return part


def _leaves(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (Union, types.UnionType, tuple):
        return [leaf for inner in typing.get_args(hint) for leaf in _leaves(inner)]
    return [hint]


def _holds_parts(hint: Any) -> bool:
    return any(isinstance(leaf, type) and issubclass(leaf, Part) for leaf in _leaves(hint))
