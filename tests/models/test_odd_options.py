"""Whatever number an option is given, a model is built or the number is refused in a sentence."""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from clicksmith.embed.sockets import Pool
from clicksmith.errors import ClicksmithError, UsageError
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.sequence.din import DIN
from clicksmith.testing.layouts import LAYOUTS

ODD = {int: (0, -1), float: (0.0, -1.0, math.nan, math.inf), tuple: ((0,), (-1,))}
MAY_BE_NOTHING = {("autoint", "layers"), ("autoint_plus", "layers"), ("apg", "over")}
"""Options that say what 0 is, beside shares to drop."""


def forms(name: str) -> list[dict]:
    """Return options that choose a form of the model, one at a time; the default one first."""
    found: list[dict] = [{}]
    for option, hint in get_type_hints(MODELS[name]).items():
        choices = [c for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal for c in get_args(kind)]
        found += [{option: choice} for choice in choices]
    return found


def odd_numbers(name: str) -> Iterator[tuple[str, Any]]:
    """Yield options and an odd value of each one's kind: a number, or widths."""
    for option, parameter in inspect.signature(MODELS[name]).parameters.items():
        if not isinstance(parameter.default, tuple) or "int" in str(parameter.annotation):
            yield from ((option, odd) for odd in ODD.get(type(parameter.default), ()))


def said_to(name: str, option: str, odd: object) -> str:
    """Return why the first form of the model that reads an option refuses a value; nothing if it is accepted."""
    for form in forms(name):
        try:
            if option in form or (spec := MODELS[name](**form, **{option: odd})) == MODELS[name](**form):
                continue
            CTRModel(spec, LAYOUTS["everything"])
        except ClicksmithError as error:
            return str(error)
        return ""
    return str(odd)  # what its option says anyway, as that 0 asks for another number


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_odd_number_is_refused_by_its_value(name):
    wrong = {}
    for option, odd in odd_numbers(name):
        number, said = odd[0] if isinstance(odd, tuple) else odd, said_to(name, option, odd)
        takes_nothing = number == 0 and ("dropout" in option or (name, option) in MAY_BE_NOTHING)
        if not (takes_nothing and not said) and str(number) not in said:
            wrong[option, odd] = said or "is accepted"
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("afm", {"attention_dropout": 1.5}, r"^dropout 1\.5 is not in \[0, 1\); give the share to drop, as in 0\.2\.$"),
        ("autoint", {"attention_dropout": math.nan}, r"^dropout nan is not in \[0, 1\); give"),
        ("destine", {"attention_dropout": 1.0}, r"^dropout 1\.0 is not in \[0, 1\); give"),
        ("autoint_plus", {"layers": -1}, r"^attention of layers=-1; give layers=1 or more, or 0 for none\.$"),
        (
            "dcnv2",
            {"cross": "mixture", "experts": 0},
            r"^a mixture of 0 experts crosses nothing; give experts=1 or more\.$",
        ),
        ("dlrm", {"bottom_units": (8, 0)}, r"^Bottom units \(8, 0\) hold a width below 1; give positive widths, as"),
        ("din", {"attention_units": (0,)}, r"^DIN units \(0,\) hold a width below 1; give positive widths, as in 80"),
        ("apg", {"units": (-1,)}, r"^adaptive layers of units=\(-1,\), .*; give widths of 1 or more, as in units=400"),
        ("finalmlp", {"units1": (-1,)}, r"^MLP units \(-1,\) hold a width below 1; give positive widths, as in 400"),
        ("fibinet", {"reduction": math.nan}, r"^SENet reduction nan is not a number above 0; use 3 to squeeze to a"),
        ("masknet", {"ratio": math.nan}, r"^mask blocks of .*, ratio=nan: all must be positive numbers, as in"),
        ("edcn", {"temperature": math.nan}, r"and temperature=nan; give .* a number above 0 as temperature\.$"),
        ("ffm", {"dim": -1}, r"have dim=-1; give dim=1 or more\.$"),
        (
            "interhat",
            {"inner": -2},
            r"^inner=-2 is no width; give inner=1 or more, or 0 for four",
        ),
        ("finalnet", {"blocks": 3}, r"^finalnet: blocks=3; give 1 or 2\.$"),
    ],
)
def test_the_sentence_says_what_to_give(name, options, said):
    with pytest.raises(ClicksmithError, match=said):
        CTRModel(MODELS[name](**options), LAYOUTS["everything"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"units": 3}, r"^dnn: units is 3: expected `array`, got `int`; its default is \(400, 400, 400\)\.$"),
        ({"units": (8, "4")}, r"^dnn: units is \(8, '4'\): expected `int`, got `str` - at `\$\[1\]`; its default"),
        ({"dim": "8"}, r"^dnn: dim is '8': expected `int`, got `str`; its default is 16\.$"),
        ({"dim": 8.5}, r"^dnn: dim is 8\.5: expected `int`, got `float`; its default is 16\.$"),
        ({"activation": "ReLU"}, r"^dnn: activation is 'ReLU': invalid enum value 'ReLU'; its default is 'relu'\.$"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_default(options, said):
    with pytest.raises(UsageError, match=said):
        model_spec("dnn", **options)


def test_lists_and_numbers_of_numpy_are_what_they_stand_for():
    given = {"units": [np.int64(8), 4], "dim": np.int32(6), "dropout": np.float32(0.5)}
    assert model_spec("dnn", **given) == model_spec("dnn", units=(8, 4), dim=6, dropout=0.5)
    assert model_spec("dnn", units=np.array([8, 4])) == model_spec("dnn", units=(8, 4))


def test_a_users_function_takes_what_its_types_do_not_say(monkeypatch):
    def own(
        dim: int = 4, rate=0.0, pool: Pool | None = None, weights: np.ndarray | None = None, *, map: Callable = abs
    ):
        seen.update(dim=dim, rate=rate, pool=pool, weights=weights, map=map)
        return MODELS["lr"]()

    def unknown(dim: "int" = 4) -> "NotImported":
        seen.update(dim=dim)
        return MODELS["lr"]()

    seen: dict = {}
    monkeypatch.setitem(MODELS, "own", own)
    monkeypatch.setitem(MODELS, "unknown", unknown)
    monkeypatch.setitem(MODELS, "part", partial(own, dim=3))
    given = {"dim": 8, "rate": "any", "pool": DIN(), "weights": np.ones(3), "map": len}
    model_spec("own", **given)
    assert seen == given
    with pytest.raises(UsageError, match=r"^own: dim is 'x': expected `int`, got `str`; its default is 4\.$"):
        model_spec("own", dim="x")
    model_spec("unknown", dim=9)
    assert seen["dim"] == 9
    model_spec("part")
    assert seen["dim"] == 3
