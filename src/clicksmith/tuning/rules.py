"""Which values are tried for an option, from its name, its annotation and its default; the one place that says so.

| option | tried |
|---|---|
| `dim`, `width`, `rank`, `heads`, `experts`, `reduction` | half, same, twice |
| `layers` | 1 to two more |
| `units` and the like (whole numbers in a row) | widths half, same, twice; each depth up to the default's |
| `dropout` and the like | 0 to 0.5 |
| true or false, but for `bias_each`, which changes no function | both |
| one of some names, but for activations | each |
| `learning_rate`, `table_l2` | a tenth to ten times, a hundredth to ten times (on the log scale) |
| `dense_l2` | 0, 1e-6, 1e-5, 1e-4 |
| `table_l2` that is 0 | 0, 1e-7, 1e-6, 1e-5, 1e-4 |
| `batch_size` | half, same, twice |

Other options keep their default. Where a rule does not fit, a model's file declares `SPACE` beside its function: a
dict from option to a list of values or to `{"low": ..., "high": ..., "log": ...}`; an empty list is not searched.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

from clicksmith.errors import UsageError
from clicksmith.names import unknown
from clicksmith.train.settings import TrainSettings
from clicksmith.trees.spec import Trees
from clicksmith.tuning.space import Choice, Dimension, Range, Space, space_of

SCALED = ("dim", "width", "rank", "heads", "experts", "reduction")
FIXED = ("seed", "monitor", "device", "checkpoint_minutes")
"""Settings that are the same in all trials: they decide how, or by what, trials are compared."""
TRAINED = ("learning_rate", "table_l2", "dense_l2", "batch_size")


def proposed_space(function: Callable[..., object], settings: TrainSettings) -> Space:
    """Return the space of a model's options and of training; `settings` are those without a search.

    Raises UsageError: `SPACE` in the model's file names no option of the function, or holds a value that does not fit.
    """
    hints, space = hints_of(function), Space()
    own: Any = getattr(sys.modules[function.__module__], "SPACE", {})
    where = f"SPACE of {function.__module__}"
    if not isinstance(own, Mapping):
        raise UsageError(f"{where} is {own!r}; write a dict from an option to its values.")
    declared = dict(typing.cast("Mapping[str, Any]", own))
    for name in declared:
        if name not in hints["model"]:
            raise UsageError(f"{where}: {unknown(name, hints['model'], f'option of {function.__name__}')}")
    overridden = space_of({"model": {name: values for name, values in declared.items() if values}}, hints, where)
    for name, parameter in inspect.signature(function).parameters.items():
        if name in declared:
            space |= {key: d for key, d in overridden.items() if key == f"model.{name}"}
        elif (dimension := dimension_of(name, hints["model"][name], parameter.default)) is not None:
            space[f"model.{name}"] = dimension
    if "train" in hints:
        space |= {f"train.{name}": _trained(name, getattr(settings, name)) for name in TRAINED}
    return space


def hints_of(function: Callable[..., object]) -> dict[str, dict[str, Any]]:
    """Return the types of everything that can be searched, by prefix and name; `FIXED` settings cannot.

    Trees have no optimiser: nothing of their training is searched but their own options.
    """
    hints = typing.get_type_hints(function)
    options = {name: hints.get(name, Any) for name in inspect.signature(function).parameters}
    if function is Trees:
        return {"model": options}
    settings = typing.get_type_hints(TrainSettings)
    return {"model": options, "train": {n: settings[n] for n in TrainSettings.__struct_fields__ if n not in FIXED}}


def dimension_of(name: str, hint: Any, default: Any) -> Dimension | None:
    """Return what is tried for an option, None if it keeps its default.

    >>> dimension_of("dim", int, 16)
    Choice(values=(8, 16, 32))
    >>> dimension_of("units", tuple[int, ...], (400, 400)).values[:2]
    ((200,), (200, 200))
    """
    if hint is bool:
        return Choice((False, True)) if name != "bias_each" else None
    if typing.get_origin(hint) is typing.Literal:
        return Choice(typing.get_args(hint)) if "activation" not in name else None
    if hint is float and "dropout" in name:
        return Range(0.0, 0.5)
    if hint is int and name == "layers":
        return Range(1, default + 2, whole=True)
    if hint in (int, float) and name in SCALED:
        return Choice(_scaled(default))
    if hint == tuple[int, ...] and default:
        widths = [tuple(_at(unit, factor) for unit in default) for factor in (0.5, 1.0, 2.0)]
        return Choice(tuple(dict.fromkeys(width[:depth] for width in widths for depth in range(1, len(default) + 1))))
    return None


def _trained(name: str, default: Any) -> Dimension:
    if name == "batch_size":
        return Choice(_scaled(default))
    if name == "dense_l2":
        return Choice(tuple(dict.fromkeys((default, 0.0, 1e-6, 1e-5, 1e-4))))
    if name == "table_l2" and not default:
        return Choice((default, 1e-7, 1e-6, 1e-5, 1e-4))
    if name == "table_l2":
        return Range(default / 100, default * 10, log=True)
    return Range(default / 10, default * 10, log=True)


def _scaled(default: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(_at(default, factor) for factor in (0.5, 1.0, 2.0)))


def _at(default: Any, factor: float) -> Any:
    """Return a multiple of the default, whole and at least 1 where the default is whole."""
    return max(1, int(default * factor)) if isinstance(default, int) else default * factor
