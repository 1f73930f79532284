"""Arguments of a verb from its function's signature (tyro), with every mistake told in one line."""

import contextlib
import inspect
import io
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import arg

from clicksmith.errors import UsageError
from clicksmith.names import nearest, unknown

T = TypeVar("T")

FRAME = re.compile(r"[╭╮╰╯│─]+|-{20,}")
"""What tyro draws around its messages, where the terminal has UTF-8 and where it has not."""


def option(metavar: str, text: str, *, default: str = "") -> Any:
    """Describe an option: the word for its value, a help text, and what happens when it is not given."""
    return arg(metavar=metavar, help=text, help_behavior_hint=f"({default})" if default else "")


def flag(text: str) -> Any:
    """Describe an option without value."""
    return arg(help=text, help_behavior_hint="")


Columns = Annotated[
    str | None, option("NAMES", "names for files without header, as in label,I1..I13,C1..C26", default="the header")
]
Delimiter = Annotated[str | None, option("CHAR", "what separates the cells of text files", default="found out")]


def call(
    function: Callable[..., T],
    argv: Sequence[str],
    *,
    verb: str,
    about: str,
    more: str = "",
    given: Mapping[str, Any] | None = None,
) -> T:
    """Call `function` with the arguments in `argv`, and with `given` for parameters that are no options.

    A parameter that is a dataclass is a group of options in the help; their names stand without the group's.

    Raises UsageError for an option that is unknown (naming the nearest), a value that does not fit, or a missing one.
    `--help` prints `about`, the options and `more`, and leaves with status 0.
    """
    messages = io.StringIO()
    prog = f"clicksmith {verb}"
    taken: dict[str, Any] = {}

    def keep(*args: Any, **options: Any) -> None:
        taken["args"], taken["options"] = args, options

    given = given or {}
    signature = inspect.signature(function, eval_str=True)
    shown = [p for p in signature.parameters.values() if p.name not in given]
    keep.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    keep.__annotations__ = {p.name: p.annotation for p in shown} | {"return": None}
    keep.__name__ = function.__name__
    _check_repeated(argv, shown, prog)
    helping = any(word in ("-h", "--help") for word in argv)
    try:
        with contextlib.redirect_stderr(messages), _wide(helping):
            _, rest = tyro.cli(
                keep,
                args=["--help"] if helping else list(argv),  # its usage leaves out what is given already
                prog=prog,
                description=about,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            print(more, end="\n" if more else "")
            raise
        raise UsageError(_sentence(messages.getvalue(), prog)) from None
    if rest:
        raise UsageError(_unknown(rest, shown, prog))
    return function(*taken["args"], **taken["options"], **given)


def _check_repeated(argv: Sequence[str], shown: Sequence[inspect.Parameter], prog: str) -> None:
    """Raise UsageError: an option of several values stands twice, and the values of the first would be lost.

    One of a single value may: the last one holds, so that a command can be given again with something added.
    """
    names = [word.split("=", 1)[0] for word in argv if word.startswith("--")]
    for named, annotation in _options(shown):
        name = f"--{named.replace('_', '-')}"
        marks = getattr(annotation, "__metadata__", ())
        if names.count(name) > 1 and _several(annotation) and tyro.conf.UseAppendAction not in marks:
            raise UsageError(
                f"{name} is given {names.count(name)} times; give all its values after one, as in {name} ONE TWO. "
                f"See `{prog} --help`."
            )


def _options(shown: Sequence[inspect.Parameter]) -> Iterator[tuple[str, Any]]:
    """Yield name and annotation of every option, those of groups among them."""
    for parameter in shown:
        if is_dataclass(parameter.annotation):
            hints = get_type_hints(parameter.annotation, include_extras=True)
            yield from ((field.name, hints[field.name]) for field in fields(parameter.annotation))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            yield parameter.name, parameter.annotation


def _several(annotation: Any) -> bool:
    hint = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return get_origin(hint) is tuple


def _unknown(rest: list[str], shown: Sequence[inspect.Parameter], prog: str) -> str:
    names = [word.split("=", 1)[0] for word in rest if word.startswith("-")]
    if not names:
        return f"'{rest[0]}' is one argument too many; see `{prog} --help`."
    known = [*(f"--{name.replace('_', '-')}" for name, _ in _options(shown)), *EXTRA.get(prog.split()[-1], ())]
    return f"{unknown(names[0], known, f'option of `{prog}`')} See `{prog} --help`."


EXTRA = {
    "fit": ("--model.dim", "--train.learning-rate", "--set"),
    "tune": ("--model.dim", "--train.learning-rate"),
    "run": ("--train.learning-rate",),
}
"""Options that a verb takes before tyro sees the rest; here only for "did you mean"."""


def _sentence(text: str, prog: str) -> str:
    """Turn tyro's framed text into one sentence."""
    plain = [FRAME.sub("", line).strip() for line in text.splitlines()]
    words = " ".join(line for line in plain if line).partition(" For full helptext")[0]
    bad = re.search(r"Error parsing (\S+): .*?from \[(.*?)\]", words)
    if bad:
        kind = (
            "a whole number"
            if "<class 'int'>" in text or "INT" in words
            else "a number"
            if "FLOAT" in words
            else "valid"
        )
        return f"{bad[1]} got {bad[2]}, which is not {kind}; see `{prog} --help`."
    choice = re.search(r"invalid choice '(.*?)' for argument '(.*?)'\. Expected one of \((.*?)\)", words)
    if choice:
        known = re.findall(r"'(.*?)'", choice[3])
        near = f" Did you mean '{found}'?" if (found := nearest(choice[1], known)) else ""
        return f"{choice[2]} got '{choice[1]}', which is not {'|'.join(known)}.{near} See `{prog} --help`."
    missing = re.search(r"Missing from .*?: (\S+)", words)
    if missing:
        return f"{missing[1]} is missing; see `{prog} --help`."
    words = re.sub(r"^(Invalid choice|Missing argument|Value error|Required options) +", "", words)
    return f"{words.rstrip('.')}; see `{prog} --help`."


@contextlib.contextmanager
def _wide(helping: bool) -> Generator[None]:
    """Keep tyro from breaking an error into lines; help keeps the terminal's width."""
    before = os.environ.get("COLUMNS")
    if not helping:
        os.environ["COLUMNS"] = "1000"
    try:
        yield
    finally:
        if not helping:
            os.environ.pop("COLUMNS", None)
            if before is not None:
                os.environ["COLUMNS"] = before
