"""Arguments of a verb from its function's signature (tyro), with every mistake told in one line."""

import contextlib
import inspect
import io
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import arg

from clicksmith.cli.options import in_words
from clicksmith.errors import UsageError
from clicksmith.names import nearest, unknown

T = TypeVar("T")

FRAME = re.compile(r"[╭╮╰╯│─]+|-{20,}")
"""What tyro draws around its messages, where the terminal has UTF-8 and where it has not."""
OPTION = re.compile(r"--|-[A-Za-z]")
"""How a word begins that is no value; -1 and -.5 are numbers."""


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


def helping(argv: Sequence[str]) -> bool:
    """Whether help is asked for."""
    return bool({"-h", "--help"} & set(argv))


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
    if not helping(argv):
        _check_values(argv, shown, prog)
    try:
        with contextlib.redirect_stderr(messages), _wide(helping(argv)):
            _, rest = tyro.cli(
                keep,
                args=["--help"] if helping(argv) else list(argv),  # its usage leaves out what is given already
                prog=prog,
                description=about,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            print(more, end="\n" if more else "")
            raise
        raise UsageError(_sentence(messages.getvalue(), shown, prog)) from None
    if rest:
        raise UsageError(_unknown(rest, shown, prog))
    return function(*taken["args"], **taken["options"], **given)


def _check_values(argv: Sequence[str], shown: Sequence[inspect.Parameter], prog: str) -> None:
    """Raise UsageError: an option has no value, or one of several values stands twice, and the first would be lost.

    One of a single value may: the last one holds, so that a command can be given again with something added.
    """
    names, bare = list[str](), set[str]()
    for word, behind in zip(argv, [*argv[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        names.append(flag.replace("_", "-"))
        given = value if equals else behind
        if not given or (not equals and OPTION.match(given)):
            bare.add(names[-1])
    for name, annotation in _options(shown):
        hint, marks = _hint(annotation), getattr(annotation, "__metadata__", ())
        if name in bare and hint is not bool:
            word = next(mark.metavar for mark in marks if getattr(mark, "metavar", None))
            raise UsageError(f"{name} stands without a value; give {name} {word}, see `{prog} --help`.")
        if names.count(name) > 1 and get_origin(hint) is tuple and tyro.conf.UseAppendAction not in marks:
            raise UsageError(
                f"{name} is given {names.count(name)} times; give all its values after one, as in {name} ONE TWO. "
                f"See `{prog} --help`."
            )


def _options(shown: Sequence[inspect.Parameter]) -> Iterator[tuple[str, Any]]:
    """Yield flag and annotation of every option, those of groups among them."""
    for parameter in shown:
        if is_dataclass(parameter.annotation):
            hints = get_type_hints(parameter.annotation, include_extras=True)
            yield from ((_flag(field.name), hints[field.name]) for field in fields(parameter.annotation))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            yield _flag(parameter.name), parameter.annotation


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _hint(annotation: Any) -> Any:
    """Return the type of a value that is given."""
    hint = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return next(kind for kind in get_args(hint) if kind is not NoneType) if NoneType in get_args(hint) else hint


def _unknown(rest: list[str], shown: Sequence[inspect.Parameter], prog: str) -> str:
    names = [word.split("=", 1)[0] for word in rest if word.startswith("-")]
    if not names:
        return f"'{rest[0]}' is one argument too many; see `{prog} --help`."
    known = [*(name for name, _ in _options(shown)), *EXTRA.get(prog.split()[-1], ())]
    meant = SAME.get(names[0])
    near = [meant] if meant in known else known
    return f"{unknown(names[0], near, f'option of `{prog}`')} See `{prog} --help`."


SAME = {"--model": "--backbone", "--backbone": "--model"}
"""What one verb calls the option of another."""
EXTRA = {
    "fit": ("--model.dim", "--train.learning-rate", "--set"),
    "search": ("--model.dim", "--train.learning-rate", "--search.epochs"),
    "tune": ("--model.dim", "--train.learning-rate"),
    "run": ("--train.learning-rate",),
}
"""Options that a verb takes before tyro sees the rest; here only for "did you mean"."""


def _sentence(text: str, shown: Sequence[inspect.Parameter], prog: str) -> str:
    """Turn tyro's framed text into one sentence."""
    plain = [FRAME.sub("", line).strip() for line in text.splitlines()]
    words = " ".join(line for line in plain if line).partition(" For full helptext")[0]
    types = {p.name: _hint(p.annotation) for p in shown} | {name: _hint(one) for name, one in _options(shown)}
    bad = re.search(r"Error parsing (\S+): .*?(?:from \[(.*?)\]\. Got|(?:base 10|to float): (.*?) Argument) ", words)
    if bad:
        return f"{bad[1]} got {bad[2] or bad[3]}, which is not {in_words(types[bad[1]])}; see `{prog} --help`."
    choice = re.search(r"invalid choice '(.*?)' for argument '(.*?)'\. Expected one of", words)
    if choice:
        known = get_args(types[choice[2]])
        near = f" Did you mean '{found}'?" if (found := nearest(choice[1], known)) else ""
        return f"{choice[2]} got '{choice[1]}', which is not {'|'.join(known)}.{near} See `{prog} --help`."
    missing = re.search(r"Missing from .*?: (\S+)", words)
    if missing:
        return f"{missing[1]} is missing; see `{prog} --help`."
    words = re.sub(r"^(Invalid choice|Missing argument|Value error|Required options) +", "", words)
    return f"{words.rstrip('.')}; see `{prog} --help`."


@contextlib.contextmanager
def _wide(wrapped: bool) -> Generator[None]:
    """Keep tyro from breaking an error into lines; help keeps the terminal's width."""
    before = os.environ.get("COLUMNS")
    if not wrapped:
        os.environ["COLUMNS"] = "1000"
    try:
        yield
    finally:
        if not wrapped:
            os.environ.pop("COLUMNS", None)
            if before is not None:
                os.environ["COLUMNS"] = before
