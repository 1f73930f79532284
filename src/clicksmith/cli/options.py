"""Dotted options, `--model.dim 32`, `--train.learning-rate 1e-3`, `--set dim=32`: their values come from signatures."""

import ast
import contextlib
import inspect
import json
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec

from clicksmith.errors import ClicksmithError, CompositionError, UsageError
from clicksmith.names import unknown

ALIASES = {"lr": "learning_rate", "bs": "batch_size", "l2": "table_l2"}
"""What other libraries call some options."""


def take_dotted(argv: Sequence[str], prefix: str) -> tuple[list[str], dict[str, str]]:
    """Split `--<prefix>.name value` and `--<prefix>.name=value` off `argv`; a name without value is "true".

    >>> take_dotted(["a.csv", "--model.batch-norm", "--model.dim", "32"], "model")
    (['a.csv'], {'batch_norm': 'true', 'dim': '32'})
    """
    rest: list[str] = []
    taken: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith(f"--{prefix}."):
            rest.append(word)
            continue
        name, equals, value = word[len(prefix) + 3 :].partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        taken[name.replace("-", "_")] = value
    return rest, taken


def take_sets(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split `--set name=value` off `argv`; it may be given several times.

    >>> take_sets(["--set", "dim=32", "--set=interact.units=[64]"])
    ([], {'dim': '32', 'interact.units': '[64]'})
    """
    rest: list[str] = []
    taken: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if word != "--set" and not word.startswith("--set="):
            rest.append(word)
            continue
        pair = word[6:] if word.startswith("--set=") else (words.pop(0) if words else "")
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set got '{pair}'; write it as --set name=value.")
        taken[name] = value
    return rest, taken


def typed(texts: Mapping[str, str], hints: Mapping[str, Any], flag: str) -> dict[str, Any]:
    """Return the texts as values of the hinted types; `flag` is how they were given, as in `--model.`.

    Raises UsageError: a name that is not hinted (naming the nearest), or a text that is not such a value.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in hints:
            if ALIASES.get(name) in hints:
                meant = ALIASES[name].replace("_", "-")
                raise UsageError(f"no option named '{flag}{name}'. Did you mean '{flag}{meant}'?")
            known = [known.replace("_", "-") for known in hints]
            raise UsageError(unknown(name.replace("_", "-"), known, "option", flag))
        values[name] = _value(text, hints[name], f"{flag}{name.replace('_', '-')}")
    return values


def options_of(
    function: Callable[..., Any], texts: Mapping[str, str], flag: str, *, but: Collection[str] = ()
) -> dict[str, Any]:
    """Return the texts as options of a function, which is called with them; none of `but` may be given.

    Raises UsageError: as `typed`, or what the function says, behind the flags without which it would not say so.
    """
    values = typed(texts, {n: hint for n, hint in option_hints(function).items() if n not in but}, flag)
    said, anyway = _refusal(function, values), _refusal(function, {})
    if said is not None and said != anyway:
        without = {name: _refusal(function, {n: v for n, v in values.items() if n != name}) for name in values}
        guilty = [name for name, other in without.items() if other is None or other not in (said, anyway)]
        flags = ", ".join(f"{flag}{name.replace('_', '-')} {texts[name]}" for name in guilty or values)
        raise UsageError(f"{flags}: {said}")
    return values


def model_options(name: str, function: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the texts of `--model.NAME` as options of a backbone's function. Raises UsageError as `options_of`."""
    if texts and not option_hints(function):
        given = next(iter(texts)).replace("_", "-")
        raise UsageError(f"--model.{given}: the model {name} has no options; leave it out.")
    return options_of(function, texts, "--model.")


@contextlib.contextmanager
def blaming(
    model: Mapping[str, str],
    sets: Mapping[str, str] | None = None,
    train: Mapping[str, str] | None = None,
    search: Mapping[str, str] | None = None,
) -> Generator[None]:
    """Put options, as they were typed, in front of what is said about them only when they are used.

    model, sets: what parts say when they are combined may come from any of these.
    train, search: what is said of a setting or of a search's option begins with its name.
    """
    try:
        yield
    except CompositionError as error:
        flags = [f"--model.{name.replace('_', '-')} {text}" for name, text in model.items()]
        flags += [f"--set {name}={text}" for name, text in (sets or {}).items()]
        raise CompositionError(f"{', '.join(flags)}: {error}" if flags else str(error)) from error
    except UsageError as error:
        setting = re.match(r"(\w+)(=| is | are )", str(error))
        name = setting[1] if setting else ""
        for flag, texts in (("--train.", train or {}), ("--search.", search or {})):
            if name in texts:
                raise UsageError(f"{flag}{name.replace('_', '-')} {texts[name]}: {error}") from error
        raise


def training_options(texts: Mapping[str, str], **own: int | None) -> dict[str, Any]:
    """Return the settings given by `--train.NAME`; those that have flags of their `own`, as --epochs, are checked.

    Raises UsageError: a value that does not fit, or two for one setting.
    """
    from clicksmith.train.settings import TrainSettings

    flagged = {name: str(value) for name, value in own.items() if value is not None}
    options_of(TrainSettings, flagged, "--")
    values = options_of(TrainSettings, texts, "--train.")
    for name, text in flagged.items():
        if name in values and values[name] != own[name]:
            raise UsageError(f"--{name} {text} and --train.{name} {texts[name]} are one setting; leave one out.")
    return values


def _refusal(function: Callable[..., Any], options: Mapping[str, Any]) -> str | None:
    """Return what a function says against options."""
    try:
        function(**options)
    except ClicksmithError as error:
        return str(error)
    return None


def option_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return name -> type of a function's keyword options."""
    hints = typing.get_type_hints(function)
    return {name: hints.get(name, Any) for name in inspect.signature(function).parameters}


def flags(**given: Any) -> list[str]:
    """Return options as words of the next command; those without value are left out.

    >>> flags(label="click", columns=None, models=("a.py", "b.py"))
    ['--label', 'click', '--models', 'a.py', 'b.py']
    """
    words: list[str] = []
    for name, value in given.items():
        if value is not None and value != ():
            words += [f"--{name}", *(value if isinstance(value, tuple) else (str(value),))]
    return words


def option_lines(
    function: Callable[..., Any], flag: str, instead: Mapping[str, str] | None = None, but: Collection[str] = ()
) -> list[str]:
    """Return the help of every keyword option but those of `but`: flag, type, default, and what its class says of it.

    instead: option to what stands where its default would.
    """
    lines: list[str] = []
    hints = option_hints(function)
    told = field_docs(function) if isinstance(function, type) else {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in but:
            continue
        default = "" if parameter.default is inspect.Parameter.empty else f"(default: {shown(parameter.default)})"
        default = (instead or {}).get(name, default)
        lines.append(f"  {flag}{name.replace('_', '-'):<22} {type_name(hints[name]):<14} {default}".rstrip())
        lines += _indented(told.get(name, ""))
    return lines


def about_lines(function: Callable[..., Any]) -> list[str]:
    """Return what a function's docstring says, for a help text; its options follow."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return [line for paragraph in paragraphs for line in _indented(" ".join(paragraph.split()), "  ")]


def field_docs(owner: type) -> dict[str, str]:
    """Return what the string after each field of a class, or of a class it extends, says."""
    told: dict[str, str] = {}
    for part in owner.__mro__[::-1]:
        if part.__module__.partition(".")[0] != owner.__module__.partition(".")[0]:
            continue  # what options are made with
        body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]).body
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                    told[name] = " ".join(words.split())
                case _:
                    pass
    return told


def _indented(text: str, by: str = "      ") -> list[str]:
    width = min(shutil.get_terminal_size().columns, 120)
    return textwrap.wrap(text, max(width, 40), initial_indent=by, subsequent_indent=by)


def type_name(hint: Any) -> str:
    """Return a type as a user would say it.

    >>> type_name(tuple[int, ...]), type_name(float | None)
    ('INT,INT,...', 'FLOAT|none')
    """
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "|".join(str(value) for value in inside)
    if origin in (typing.Union, types.UnionType):
        return "|".join("none" if kind is type(None) else type_name(kind) for kind in inside)
    if origin is tuple:
        return f"{type_name(inside[0])},{type_name(inside[0])},..." if inside else "LIST"
    names = {int: "INT", float: "FLOAT", bool: "true|false", str: "TEXT"}
    return names.get(hint, getattr(hint, "__name__", str(hint)).upper())


def in_words(hint: Any) -> str:
    """Return what a value must be, for a message.

    >>> in_words(int | None), in_words(tuple[float, ...])
    ('a whole number or none', 'numbers with commas between')
    """
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if kind is type(None) else in_words(kind) for kind in inside)
    if origin is tuple and inside[0] in (int, float):
        return f"{'whole ' if inside[0] is int else ''}numbers with commas between"
    return {int: "a whole number", float: "a number"}.get(hint) or type_name(hint)


def literal(text: str) -> Any:
    """Return a text as JSON if it is JSON (`.5` is 0.5), `64,32` as a list, else as it is."""
    number = re.sub(r"(?<![\w.\"])\.(?=\d)", "0.", text)
    for candidate in (text, number, f"[{number}]" if "," in text else text, text.lower()):
        try:
            return json.loads(candidate)
        except json.JSONDecodeError:
            continue
    return None if text.lower() == "none" else text


def _value(text: str, hint: Any, flag: str) -> Any:
    value = literal(text)
    several = typing.get_origin(hint) is tuple or any(typing.get_origin(h) is tuple for h in typing.get_args(hint))
    if several and not isinstance(value, (list, dict)) and value is not None:
        value = [value]
    for candidate in (value, text):
        try:
            if isinstance(candidate, dict) and "kind" in candidate:
                from clicksmith.parts import from_plain

                return from_plain(candidate, flag)
            return msgspec.convert(candidate, hint)
        except (msgspec.ValidationError, TypeError):
            continue
    raise UsageError(f"{flag} got '{text}', which is not {in_words(hint)}.")


def shown(value: Any) -> str:
    """Return a value as an option is written."""
    if isinstance(value, tuple) and not any(hasattr(item, "__struct_fields__") for item in value):
        return ",".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value)
