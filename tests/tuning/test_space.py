"""What is searched: the generic rules, a model's own SPACE, a file; and what is one configuration."""

import msgspec
import pytest

from clicksmith.errors import UsageError
from clicksmith.models import MODELS
from clicksmith.models.register import load_user_models
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.train.settings import TrainSettings
from clicksmith.tuning.plan import Plan
from clicksmith.tuning.rules import dimension_of, hints_of, proposed_space
from clicksmith.tuning.space import Choice, Range, grid_of, read_space, space_of, space_text
from clicksmith.tuning.study import params_of

PLAIN = Schema(fields=(Categorical("user"), Categorical("ad")), label=Label("click"))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_space_that_survives_its_file(name, tmp_path):
    space = proposed_space(MODELS[name], TrainSettings())
    assert {"train.learning_rate", "train.table_l2", "train.dense_l2", "train.batch_size"} <= space.keys()
    assert name in ("lr", "hashed_lr") or "model.dim" in space
    (tmp_path / "space.toml").write_text(space_text(space))
    assert read_space(tmp_path / "space.toml", hints_of(MODELS[name])) == space


@pytest.mark.parametrize("table_l2", [0.0, 3e-5])
def test_what_would_be_trained_without_a_search_lies_in_the_space(table_l2):
    settings = TrainSettings(table_l2=table_l2)
    space = {n: d for n, d in proposed_space(MODELS["fm"], settings).items() if n.startswith("train.")}
    values = {name: getattr(settings, name.removeprefix("train.")) for name in space}
    assert params_of(values, space) == values


def test_the_rules_go_by_name_annotation_and_default():
    assert dimension_of("dim", int, 16) == Choice((8, 16, 32))
    assert dimension_of("heads", int, 1) == Choice((1, 2))
    assert dimension_of("layers", int, 3) == Range(1, 5, whole=True)
    assert dimension_of("dropout1", float, 0.3) == Range(0.0, 0.5)
    assert dimension_of("units", tuple[int, ...], (80, 40)) == Choice(
        ((40,), (40, 20), (80,), (80, 40), (160,), (160, 80))
    )
    assert dimension_of("batch_norm", bool, True) == Choice((False, True))
    assert dimension_of("bias_each", bool, False) is None
    assert dimension_of("context1", tuple[str, ...], ()) is None


def test_a_model_file_overrides_a_rule_beside_its_function(tmp_path):
    assert proposed_space(MODELS["fgcnn"], TrainSettings())["model.kernel"] == Choice((3, 5, 7, 9))
    text = (
        "from clicksmith.models.fm import fm\nfrom clicksmith.models.spec import ModelSpec\n"
        "SPACE = {SPACE}\n"
        "def mine(*, dim: int = 4, width: int = 8) -> ModelSpec:\n    return fm(dim=dim)\n"
    )
    path = tmp_path / "mine.py"
    path.write_text(text.replace("{SPACE}", "{'dim': {'low': 2, 'high': 32, 'log': True}, 'width': []}"))
    space = proposed_space(load_user_models(path)["mine"], TrainSettings())
    assert space["model.dim"] == Range(2, 32, log=True, whole=True)
    assert "model.width" not in space
    path.write_text(text.replace("{SPACE}", "{'dims': [2]}"))
    with pytest.raises(UsageError, match=r"no option of mine named 'dims'\. Did you mean 'dim'\?"):
        proposed_space(load_user_models(path)["mine"], TrainSettings())


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"modl": {}}, r"^space: no section named 'modl'\. Did you mean 'model'\?"),
        ({"model": {"dmi": [1]}}, r"no option of \[model\] named 'dmi'\. Did you mean 'dim'\?"),
        ({"model": {"dim": ["x"]}}, r"^space: model\.dim: Expected `int`, got `str`; got 'x'\.$"),
        ({"model": {"dim": []}}, r"model\.dim is an empty list; give at least one value"),
        ({"model": {"dim": [8, 8]}}, r"model\.dim lists a value twice"),
        ({"model": {"units": {"low": 1, "high": 2}}}, r"model\.units is a range, and the option is no number"),
        ({"model": {"dropout": {"low": 0.5, "high": 0.1}}}, r"goes from 0\.5 to 0\.1; low must be less than high\.$"),
        ({"model": {"dropout": {"low": 0, "high": 1, "log": True}}}, r"and above 0 with log = true\.$"),
        ({"model": {"dim": {"low": 1.5, "high": 4}}}, r"the option takes whole numbers\.$"),
        ({"model": {"dim": {"low": 1, "hihg": 4}}}, r"no key of a range named 'hihg'\. Did you mean 'high'\?"),
        ({"model": 3}, r"^space: 'model' is 3; write a section, \[model\]\.$"),
        ({"train": {"seed": [1, 2]}}, r"no option of \[train\] named 'seed'"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(declared, message):
    with pytest.raises(UsageError, match=message):
        space_of(declared, hints_of(MODELS["deepfm"]), "space")


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^cannot read '.*no\.toml': No such file"):
        read_space(tmp_path / "no.toml", {})
    (tmp_path / "bad.toml").write_text("dim = [")
    with pytest.raises(UsageError, match=r"bad\.toml' is not TOML"):
        read_space(tmp_path / "bad.toml", {})


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(UsageError, match=r"a grid needs lists, and model\.dropout is a range from 0 to 0\.5"):
        grid_of({"model.dropout": Range(0.0, 0.5)})


BARS = {
    "model": {
        "gate": [True, False],
        "context1": [[], ["user"]],
        "heads": [1, 2],
        "dropout1": [0.1, 0.2],
        "units2": [[8], [16]],
        "gate_units": [[8]],
        "units1": [[8]],
    },
    "train": {"learning_rate": 1e-3},
}
"""The construction of BARS' grid for FinalMLP on Frappe: without gates, what drives them changes nothing."""


def test_of_the_32_points_of_a_finalmlp_grid_24_are_different():
    plan = Plan(MODELS["finalmlp"], PLAIN, rows=1000, seed=0)
    points = grid_of(space_of(BARS, hints_of(MODELS["finalmlp"]), "space"))
    found = [plan.resolve(point) for point in points]
    assert len(points) == 32
    assert len({c.digest for c in found}) == 24
    assert len({msgspec.json.encode(c.settings) for c in found}) == 1


def test_configurations_differ_in_the_order_of_a_list_and_agree_in_the_order_of_names():
    plan = Plan(MODELS["dnn"], PLAIN, rows=1000, seed=0)
    one = plan.resolve({"model.units": (400, 200), "model.dim": 8}).digest
    assert plan.resolve({"model.dim": 8, "model.units": (400, 200)}).digest == one
    assert plan.resolve({"model.units": (200, 400), "model.dim": 8}).digest != one
    assert plan.resolve({"model.units": (400, 200), "model.dim": 8, "train.batch_size": 7}).digest != one
    assert Plan(MODELS["dnn"], PLAIN, 1000, seed=1).resolve({"model.units": (400, 200), "model.dim": 8}).digest != one
