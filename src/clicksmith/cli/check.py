"""`clicksmith check my_model.py`: the contract tests on a user's own backbones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, option

ABOUT = """Run the contract tests that every built-in model passes on the backbones of your own file.

A backbone is a function with keyword options that returns a ModelSpec, registered with `@register_model`.

examples:
  clicksmith check my_model.py
  clicksmith fit clicks.csv --label click --models my_model.py --model my_model"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(check, argv, verb="check", about=ABOUT)


def check(
    file: Annotated[str, Positional, option("FILE", "a Python file with your backbones", default="required")],
    /,
) -> int:
    """Import the file, run every check on every backbone it registers; status 1 if one fails."""
    raise NotImplementedError(file, Path)
