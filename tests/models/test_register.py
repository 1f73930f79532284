"""A user's file of models."""

import textwrap

import pytest

from clicksmith.errors import SchemaError, UsageError
from clicksmith.models.register import load_user_models
from clicksmith.models.spec import ModelSpec
from clicksmith.parts import from_plain, to_plain
from clicksmith.testing.checks import run_checks

MODEL = """
from torch import nn
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import Fields, FieldShape, Hidden, HiddenShape
from clicksmith.embed.sockets import Block
from clicksmith.models.spec import ModelSpec


class Mine{suffix}(Block, frozen=True):
    width: int = 4

    def out(self, shape: FieldShape) -> HiddenShape:
        return HiddenShape(self.width)

    def build(self, shape: FieldShape) -> nn.Module:
        return MineModule(shape.flat, self.width)


class MineModule(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, fields: Fields) -> Hidden:
        return Hidden({value})


def mine(*, dim: int = 4, width: int = 8) -> ModelSpec:
    return ModelSpec(embed=Embed(dim=dim), interact=Mine{suffix}(width=width))


def _helper() -> ModelSpec:
    raise RuntimeError
"""
GOOD = "self.linear(fields.flat()).tanh()"


def write(folder, text, name="my_model.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def test_functions_annotated_with_a_spec_are_found(tmp_path):
    models = load_user_models(write(tmp_path, MODEL.format(suffix="One", value=GOOD)))
    assert list(models) == ["mine"]
    spec = models["mine"](width=3)
    assert isinstance(spec, ModelSpec) and from_plain(to_plain(spec)) == spec
    assert to_plain(spec)["interact"] == {"kind": "mine_one", "width": 3}


def test_a_list_of_models_chooses_and_names_them(tmp_path):
    text = MODEL.format(suffix="Two", value=GOOD) + "\nMODELS = {'another-name': mine}\n"
    assert list(load_user_models(write(tmp_path, text))) == ["another-name"]


def test_a_file_can_be_loaded_again_after_a_change(tmp_path):
    path = write(tmp_path, MODEL.format(suffix="Three", value=GOOD))
    load_user_models(path)
    write(tmp_path, MODEL.format(suffix="Three", value=GOOD).replace("dim: int = 4", "dim: int = 6"))
    assert load_user_models(path)["mine"]().embed.dim == 6


def test_a_users_model_passes_the_generated_checks(tmp_path):
    model = load_user_models(write(tmp_path, MODEL.format(suffix="Four", value=GOOD)))["mine"]
    results = list(run_checks(model))
    assert all(r.passed for r in results), [r for r in results if not r.passed]
    assert len(results) >= 20


def test_a_broken_model_is_told_what_is_wrong(tmp_path):
    value = "self.linear(fields.flat()) - self.linear(fields.flat()).mean(0)"
    model = load_user_models(write(tmp_path, MODEL.format(suffix="Five", value=value)))["mine"]
    failed = {r.name: r.message for r in run_checks(model) if not r.passed}
    assert "row 0 alone and among others: they differ by" in failed["rows do not see each other"]


def test_functions_that_help_others_are_no_models(tmp_path):
    text = "from clicksmith.models import fm\nfrom clicksmith.models.spec import ModelSpec\n"
    text += "def of(kind) -> ModelSpec:\n    return fm(dim=kind)\ndef mine() -> ModelSpec:\n    return of(3)\n"
    models = load_user_models(write(tmp_path, text))
    assert list(models) == ["mine"] and models["mine"]().embed.dim == 3


def test_a_function_that_gives_no_spec_fails_its_first_check():
    [result] = run_checks(lambda: 3)
    assert (result.passed, result.message) == (False, "the function returns int, not a ModelSpec")
    [result] = run_checks(lambda: 1 / 0)
    assert (result.passed, result.message) == (False, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "' holds no model; write a function `def my_model(*, dim: int = 16) -> ModelSpec`, or list your "
                    "functions in `MODELS = {'my_model': my_model}`."),
        ("def broken(:\n", "', line 1 does not run: SyntaxError: "),
        ("\nx = 1 / 0\n", "', line 2 does not run: ZeroDivisionError: division by zero."),
        ("MODELS = {'a': 3}\n", "': MODELS['a'] is 3; it must be a function that returns a ModelSpec."),
    ],
)  # fmt: skip
def test_a_file_without_a_model_says_what_to_do(tmp_path, text, message):
    with pytest.raises(UsageError) as error:
        load_user_models(write(tmp_path, text))
    assert str(error.value).startswith(f"'{tmp_path / 'my_model.py'}{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def mine(dim) -> ModelSpec: ...", "the option dim of mine has no default; give it one."),
        ("def mine(*, dim: Wide = 3) -> ModelSpec: ...",
         "the types of the options of mine cannot be read: name 'Wide' is not defined."),
        ("def mine(*, dim: int = 3) -> ModelSpec: ...", "mine returns None; it must return a ModelSpec."),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_a_model_is_told_with_its_file(tmp_path, text, message):
    lines = f"from __future__ import annotations\nfrom clicksmith.models.spec import ModelSpec\n{text}\n"
    with pytest.raises(UsageError) as error:
        load_user_models(write(tmp_path, lines))["mine"](dim=3)
    assert str(error.value) == f"'{tmp_path / 'my_model.py'}': {message}"


def test_errors_that_arise_in_a_users_part_have_its_place(tmp_path):
    value = "self.linear(fields.flat()).cut()"
    model = load_user_models(write(tmp_path, MODEL.format(suffix="Six", value=value)))["mine"]
    message = next(r.message for r in run_checks(model) if not r.passed)
    line = next(n for n, text in enumerate(MODEL.splitlines(), 1) if "{value}" in text)
    assert message == f"'{tmp_path}/my_model.py', line {line}: AttributeError: 'Tensor' object has no attribute 'cut'"


def test_a_file_that_ends_the_program_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"my_model.py', line 2 does not run: SystemExit: 3\.$"):
        load_user_models(write(tmp_path, "import sys\nsys.exit(3)\n"))


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UsageError) as error:
        load_user_models(tmp_path / "none.py")
    assert str(error.value) == f"there is no file '{tmp_path / 'none.py'}'; give the Python file that holds your model."


def test_a_file_that_is_not_python_says_so(tmp_path):
    with pytest.raises(UsageError) as error:
        load_user_models(write(tmp_path, "", "model.txt"))
    assert str(error.value) == f"'{tmp_path / 'model.txt'}' is not a Python file; its name must end in .py."


def test_the_packages_own_errors_pass_unchanged(tmp_path):
    text = "from clicksmith.errors import SchemaError\nraise SchemaError('of the user')\n"
    with pytest.raises(SchemaError, match="of the user"):
        load_user_models(write(tmp_path, text))
