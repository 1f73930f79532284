"""The published backbones, one line each; a line here is a command, a docs row, a benchmark row and a set of checks."""

import inspect
from collections.abc import Callable
from typing import Any

from clicksmith.models.autoint import autoint
from clicksmith.models.autoint_plus import autoint_plus
from clicksmith.models.dcnv2 import dcnv2
from clicksmith.models.deepfm import deepfm
from clicksmith.models.dnn import dnn
from clicksmith.models.finalmlp import finalmlp
from clicksmith.models.fm import fm
from clicksmith.models.lr import lr
from clicksmith.models.spec import ModelSpec
from clicksmith.names import lookup, unknown

MODELS: dict[str, Callable[..., ModelSpec]] = {
    "lr": lr,
    "fm": fm,
    "dnn": dnn,
    "deepfm": deepfm,
    "dcnv2": dcnv2,
    "autoint": autoint,
    "autoint_plus": autoint_plus,
    "finalmlp": finalmlp,
}
"""Functions of keyword options with published defaults, by name."""


def model_spec(name: str, **options: Any) -> ModelSpec:
    """Return the spec of a registered backbone.

    Raises:
        UnknownNameError: no such backbone; the message names the nearest.
        TypeError: no such option; the message names the nearest.

    >>> model_spec("fm", dim=8).embed.dim
    8
    """
    function = lookup(MODELS, name, "model")
    known = inspect.signature(function).parameters
    for option in options:
        if option not in known:
            hint = unknown(option, known, "option") if known else f"no option named '{option}'. {name} has none."
            raise TypeError(f"{name}: {hint}")
    return function(**options)


def describe(name: str) -> str:
    """Return what a backbone is, in one line.

    >>> describe("lr")
    'Logistic regression: one weight per feature.'
    """
    return (inspect.getdoc(lookup(MODELS, name, "model")) or "").partition("\n")[0]
