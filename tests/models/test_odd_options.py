"""Whatever number an option is given, a model is built or the number is refused in a sentence."""

import inspect
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from clicksmith.embed.sockets import Pool
from clicksmith.errors import ClicksmithError, UsageError
from clicksmith.models import MODELS, model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.sequence.din import DIN
from clicksmith.testing.layouts import LAYOUTS


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("odd", [0, -1])
def test_no_number_ends_in_an_error_of_torch(name, odd):
    refused = {}
    for option, parameter in inspect.signature(MODELS[name]).parameters.items():
        if isinstance(parameter.default, bool) or not isinstance(parameter.default, int | float):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of tensors without elements
            try:
                CTRModel(MODELS[name](**{option: odd}), LAYOUTS["everything"])
            except ClicksmithError as error:
                refused[option] = str(error)
    assert {option: said for option, said in refused.items() if str(odd) not in said} == {}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("afm", {"attention_dropout": 1.5}, r"^dropout 1\.5 is not in \[0, 1\); give the share to drop, as in 0\.2\.$"),
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
