"""The published backbones, one line each; a line here is a command, a docs row, a benchmark row and a set of checks."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from clicksmith.errors import UsageError
from clicksmith.models.afm import afm
from clicksmith.models.afn import afn
from clicksmith.models.afn_plus import afn_plus
from clicksmith.models.aoanet import aoanet
from clicksmith.models.apg import apg
from clicksmith.models.autoint import autoint
from clicksmith.models.autoint_plus import autoint_plus
from clicksmith.models.ccpm import ccpm
from clicksmith.models.dcn import dcn
from clicksmith.models.dcnv2 import dcnv2
from clicksmith.models.deepcrossing import deepcrossing
from clicksmith.models.deepfm import deepfm
from clicksmith.models.deepim import deepim
from clicksmith.models.destine import destine
from clicksmith.models.din import din
from clicksmith.models.dlrm import dlrm
from clicksmith.models.dnn import dnn
from clicksmith.models.dssm import dssm
from clicksmith.models.dualmlp import dualmlp
from clicksmith.models.edcn import edcn
from clicksmith.models.eulernet import eulernet
from clicksmith.models.ffm import ffm
from clicksmith.models.fgcnn import fgcnn
from clicksmith.models.fibinet import fibinet
from clicksmith.models.fignn import fignn
from clicksmith.models.finalmlp import finalmlp
from clicksmith.models.finalnet import finalnet
from clicksmith.models.flen import flen
from clicksmith.models.fm import fm
from clicksmith.models.fmfm import fmfm
from clicksmith.models.fwfm import fwfm
from clicksmith.models.gdcn import gdcn
from clicksmith.models.hashed_lr import hashed_lr
from clicksmith.models.hfm import hfm
from clicksmith.models.hfm_plus import hfm_plus
from clicksmith.models.hofm import hofm
from clicksmith.models.interhat import interhat
from clicksmith.models.ipnn import ipnn
from clicksmith.models.lorentzfm import lorentzfm
from clicksmith.models.lr import lr
from clicksmith.models.masknet import masknet
from clicksmith.models.nfm import nfm
from clicksmith.models.onn import onn
from clicksmith.models.opnn import opnn
from clicksmith.models.planned import spec_under
from clicksmith.models.ppnet import ppnet
from clicksmith.models.qnn import qnn
from clicksmith.models.sam import sam
from clicksmith.models.spec import ModelSpec
from clicksmith.models.wide_deep import wide_deep
from clicksmith.models.wukong import wukong
from clicksmith.models.xdeepfm import xdeepfm
from clicksmith.names import lookup, unknown

__all__ = ["MODELS", "describe", "model_spec", "source", "spec_under"]

MODELS: dict[str, Callable[..., ModelSpec]] = {
    "lr": lr,
    "fm": fm,
    "ffm": ffm,
    "fwfm": fwfm,
    "dnn": dnn,
    "wide_deep": wide_deep,
    "deepfm": deepfm,
    "nfm": nfm,
    "ipnn": ipnn,
    "opnn": opnn,
    "dcn": dcn,
    "dcnv2": dcnv2,
    "xdeepfm": xdeepfm,
    "autoint": autoint,
    "autoint_plus": autoint_plus,
    "fibinet": fibinet,
    "fgcnn": fgcnn,
    "dualmlp": dualmlp,
    "finalmlp": finalmlp,
    "din": din,
    "fignn": fignn,
    "interhat": interhat,
    "masknet": masknet,
    "sam": sam,
    "gdcn": gdcn,
    "eulernet": eulernet,
    "wukong": wukong,
    "qnn": qnn,
    "ppnet": ppnet,
    "apg": apg,
    "afn": afn,
    "afn_plus": afn_plus,
    "aoanet": aoanet,
    "ccpm": ccpm,
    "destine": destine,
    "deepim": deepim,
    "edcn": edcn,
    "finalnet": finalnet,
    "afm": afm,
    "hfm": hfm,
    "hfm_plus": hfm_plus,
    "hofm": hofm,
    "fmfm": fmfm,
    "lorentzfm": lorentzfm,
    "onn": onn,
    "flen": flen,
    "dlrm": dlrm,
    "dssm": dssm,
    "deepcrossing": deepcrossing,
    "hashed_lr": hashed_lr,
}
"""Functions of keyword options with published defaults, by name."""


def model_spec(name: str, **options: Any) -> ModelSpec:
    """Return the spec of a registered backbone.

    Raises:
        UnknownNameError: no such backbone; the message names the nearest.
        TypeError: no such option; the message names the nearest.
        UsageError: an option is of another type than its default; lists and numbers of numpy are taken.

    >>> model_spec("fm", dim=8).embed.dim
    8
    """
    function = lookup(MODELS, name, "model")
    check_options(name, function, options)
    return function(**_typed(name, function, options))


def _typed(name: str, function: Callable[..., object], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in the types of the function's parameters; types that are not plain data are not checked."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, SyntaxError, AttributeError):  # a user's own: types not imported, or no function
        return dict(options)
    known, found = inspect.signature(function).parameters, dict(options)
    for option in options.keys() & hints.keys():
        default = known[option].default
        if not _is_plain(hints[option]) or options[option] is default:
            continue
        try:
            found[option] = msgspec.convert(_plain(options[option]), hints[option])
        except msgspec.ValidationError as error:
            said = str(error)
            like = "" if default is inspect.Parameter.empty else f"; its default is {default!r}"
            raise UsageError(f"{name}: {option} is {options[option]!r}: {said[0].lower()}{said[1:]}{like}.") from None
    return found


def _is_plain(hint: Any) -> bool:
    """Return whether a type is of numbers, texts, and tuples of them."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (tuple, Union, UnionType):
        return all(one is Ellipsis or _is_plain(one) for one in inside)
    return origin is Literal or hint in (int, float, bool, str, NoneType)


def _plain(value: Any) -> Any:
    """Return a value of numpy, or a list with some in it, as Python's own."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in cast("Iterable[Any]", value)]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def check_options(name: str, function: Callable[..., object], options: Iterable[str]) -> None:
    """Raise TypeError for an option that the function of a backbone does not have, naming the nearest."""
    known = inspect.signature(function).parameters
    for option in options:
        if option not in known:
            hint = unknown(option, known, "option") if known else f"no option named '{option}'. {name} has none."
            raise TypeError(f"{name}: {hint}")


def describe(name: str) -> str:
    """Return what a backbone is, in one line.

    >>> describe("lr")
    'Logistic regression: one weight per feature.'
    """
    return (inspect.getdoc(lookup(MODELS, name, "model")) or "").partition("\n")[0]


def source(name: str) -> tuple[str, str]:
    """Return who published a backbone, as its module says in brackets, and the key of the paper; "" for none.

    >>> source("autoint_plus")
    ('Song et al., CIKM 2019, section 5.5', 'autoint')
    """
    function = lookup(MODELS, name, "model")
    module = inspect.getmodule(function)
    said = re.search(r"\(([^()]*\d{4}[^()]*)\)", (module.__doc__ or "").partition("\n")[0] if module else "")
    key = re.search(r"Paper: (\w+)\.", inspect.getdoc(function) or "")
    return said[1] if said else "", key[1] if key else ""
