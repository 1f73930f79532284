"""What `--help` says of backbones and of training, below the options of a verb."""

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from clicksmith.cli.options import about_lines, option_lines, shown
from clicksmith.names import lookup


def model_lines(argv: Sequence[str], flag: str, more: Mapping[str, Callable[..., Any]] | None = None) -> list[str]:
    """Return the names of backbones, of those behind `--models` and of `more`, and the options of the one at `flag`.

    Raises UnknownNameError: there is none of that name. UsageError: a file behind `--models` does not run.
    """
    from clicksmith.cli.own_models import load_models
    from clicksmith.models import MODELS

    own = load_models(_behind(argv, "--models"))
    known = {**MODELS, **(more or {}), **own}
    lines = [f"models: {', '.join(known)}", f"({flag} NAME --help shows a model's options)"]
    for name in _behind(argv, flag)[:1] or (own if len(own) == 1 else ()):
        function = lookup(known, name, "model")
        options = option_lines(function, "--model.") or ["  none"]
        lines += ["", f"options of {name}:", *about_lines(function), "", *options]
    return lines


def training_lines() -> list[str]:
    """Return the options of training, where what is not given is chosen as in `fit`."""
    from clicksmith.train.settings import TrainSettings

    return ["options of training:", *option_lines(TrainSettings, "--train.", _chosen())]


def _chosen() -> dict[str, str]:
    """Return what help says of the settings that `fit` chooses itself."""
    from clicksmith.train.defaults import default_settings
    from clicksmith.train.settings import TrainSettings

    whole, small, large = TrainSettings(), default_settings(1_000), default_settings(100_000_000)
    told: dict[str, str] = {}
    for name in TrainSettings.__struct_fields__:
        if getattr(small, name) != getattr(large, name):
            told[name] = "(by data size)"
        elif getattr(small, name) != getattr(whole, name):
            told[name] = f"(default: {shown(getattr(small, name))})"
    return told | {"table_l2": "(by data size and kind of model)"}


def _behind(argv: Sequence[str], flag: str) -> list[str]:
    """Return the values of a flag."""
    values = [word.partition("=")[2] for word in argv if word.startswith(f"{flag}=")]
    if flag in argv:
        values += takewhile(lambda word: not word.startswith("-"), argv[argv.index(flag) + 1 :])
    return values
