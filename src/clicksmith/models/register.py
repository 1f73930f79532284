"""A user's own models: functions in a file of theirs that return a `ModelSpec`.

The file is Python and runs when it is loaded, so it is loaded only where the user names it, never on behalf of an
artefact.
"""

import functools
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_type_hints

from clicksmith.errors import ClicksmithError, UsageError
from clicksmith.models.spec import ModelSpec

ModelFunction = Callable[..., ModelSpec]
"""Keyword options in, a spec out."""

OWN = "clicksmith_user_"
"""How the modules of users' files begin their names."""


def load_user_models(path: str | Path) -> dict[str, ModelFunction]:
    """Run a Python file and return its models by name.

    They are the entries of its `MODELS` if it has one, else its public functions annotated `-> ModelSpec`.

    Raises:
        UsageError: the file is missing, does not run, or holds no model that could be called without options. So does a
            model, when it is called, that returns no spec.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'; give the Python file that holds your model.")
    module = _run(path)
    listed: Any = getattr(module, "MODELS", None)
    models = cast("dict[str, ModelFunction]", listed) if isinstance(listed, dict) else _functions(module)
    if not models:
        raise UsageError(
            f"'{path}' holds no model; write a function `def my_model(*, dim: int = 16) -> ModelSpec`, "
            "or list your functions in `MODELS = {'my_model': my_model}`."
        )
    for name, function in models.items():
        if not callable(function):
            raise UsageError(
                f"'{path}': MODELS['{name}'] is {function!r}; it must be a function that returns a ModelSpec."
            )
    return {name: _checked(path, name, function) for name, function in models.items()}


def own_place(error: BaseException) -> str:
    """Return file and line of the deepest frame of an error that lies in a user's file, or "" where none does."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if frame.f_globals.get("__name__", "").startswith(OWN) and file == frame.f_globals.get("__file__"):
            place = f"'{file}', line {line}"
    return place


def with_place(error: BaseException) -> str:
    """Return type and text of an error in one line, behind its place where that is in a user's file."""
    place = own_place(error)
    return f"{place}{': ' if place else ''}{type(error).__name__}: {' '.join(str(error).split())}"


def _checked(path: Path, name: str, function: ModelFunction) -> ModelFunction:
    @functools.wraps(function)
    def giving_a_spec(**options: Any) -> ModelSpec:
        spec = function(**options)
        if not isinstance(spec, ModelSpec):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"'{path}': {name} returns {spec!r}; it must return a ModelSpec.")
        return spec

    if missing := _without_default(function):
        raise UsageError(f"'{path}': the option {missing[0]} of {name} has no default; give it one.")
    try:
        get_type_hints(giving_a_spec)
    except Exception as error:  # an annotation is evaluated, and may raise anything
        raise UsageError(f"'{path}': the types of the options of {name} cannot be read: {error}.") from error
    return giving_a_spec


def _run(path: Path) -> ModuleType:
    name = f"{OWN}{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{path}' is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # parts look up their annotations there
    try:
        spec.loader.exec_module(module)
    except ClicksmithError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{_place(error, path)} does not run: {type(error).__name__}: {error}.") from error
    return module


def _place(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f"'{path}', line {error.lineno}"
    return own_place(error) or f"'{path}'"


def _functions(module: ModuleType) -> dict[str, ModelFunction]:
    found: dict[str, ModelFunction] = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        returns = function.__annotations__.get("return")
        local = function.__module__ == module.__name__ and not name.startswith("_")
        if local and (returns is ModelSpec or str(returns).rsplit(".", 1)[-1] == "ModelSpec"):
            found[name] = function
    alone = {name: function for name, function in found.items() if not _without_default(function)}
    return alone or found  # what cannot be called without options helps the others


def _without_default(function: ModelFunction) -> list[str]:
    """Return the options that have no default."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    options = inspect.signature(function).parameters.values()
    return [option.name for option in options if option.default is option.empty and option.kind not in kinds]
