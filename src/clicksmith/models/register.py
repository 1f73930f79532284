"""A user's own models: functions in a file of theirs that return a `ModelSpec`.

The file is Python and runs when it is loaded, so it is loaded only where the user names it, never on behalf of an
artefact.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from clicksmith.errors import ClicksmithError, UsageError
from clicksmith.models.spec import ModelSpec

ModelFunction = Callable[..., ModelSpec]
"""Keyword options in, a spec out."""


def load_user_models(path: str | Path) -> dict[str, ModelFunction]:
    """Run a Python file and return its models by name.

    They are the entries of its `MODELS` if it has one, else its public functions annotated `-> ModelSpec`.

    Raises:
        UsageError: the file is missing, does not run, or holds no model.
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
    return dict(models)


def _run(path: Path) -> ModuleType:
    name = f"clicksmith_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
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
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"'{path}'{_line(error, path)} does not run: {type(error).__name__}: {error}.") from error
    return module


def _line(error: BaseException, path: Path) -> str:
    """Return ", line n" of the deepest frame inside the file, or of the syntax error."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    trace, line = error.__traceback__, None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""


def _functions(module: ModuleType) -> dict[str, ModelFunction]:
    found: dict[str, ModelFunction] = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        returns = function.__annotations__.get("return")
        local = function.__module__ == module.__name__ and not name.startswith("_")
        if local and (returns is ModelSpec or str(returns).rsplit(".", 1)[-1] == "ModelSpec"):
            found[name] = function
    return found
