"""`clicksmith check my_model.py`: the contract tests on a user's own backbones."""

import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional

from clicksmith.cli.parse import call, flag, option

ABOUT = """Run the contract tests that every built-in model passes on the models of your own file.

A model is a function with keyword options annotated `-> ModelSpec`. The status is 1 if a check fails.

examples:
  clicksmith check my_model.py
  clicksmith fit clicks.csv --label click --models my_model.py --model my_model"""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(check, argv, verb="check", about=ABOUT)


def check(
    file: Annotated[str, Positional, option("FILE", "a Python file with your models", default="required")],
    /,
    *,
    slow: Annotated[bool, flag("also the checks that take seconds each, such as ONNX")] = False,
) -> int:
    """Run every check on every model of the file; the status is 1 if one fails."""
    from clicksmith.cli.own_models import load_models
    from clicksmith.testing.checks import run_checks

    failed = 0
    for name, function in load_models([file]).items():
        before = failed
        print(f"{name}:")
        for result in run_checks(function, slow=slow):
            print(f"  {'ok    ' if result.passed else 'FAILED'}  {result.name}  ({result.seconds:.1f} s)", flush=True)
            if not result.passed:
                print(f"          {result.message}")
                failed += 1
        if failed == before:
            print(
                f"next: clicksmith fit ROWS.csv --label NAME --models {shlex.quote(file)} --model {name}",
                file=sys.stderr,
            )
    print("every check passed." if not failed else f"{failed} check(s) failed.")
    return 1 if failed else 0
