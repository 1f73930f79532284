"""Marks of looped references: `pytest.mark.reference("kind", ...)` on a test that holds such parts to a loop.

`python tests/references.py` writes the marks to `src/clicksmith/bench/references.json`, for the pages of models.
"""

import ast
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clicksmith.names import lookup
from clicksmith.parts import PARTS

TESTS = Path(__file__).parent
WRITTEN = TESTS.parent / "src" / "clicksmith" / "bench" / "references.json"


@contextmanager
def building(kinds: tuple[str, ...]) -> Iterator[None]:
    """Fail the test unless a part of each kind is built within."""
    built: set[str] = set()

    def noting(kind, build):
        def noted(part, *args):
            built.add(kind)
            return build(part, *args)

        return noted

    with pytest.MonkeyPatch.context() as patch:
        for kind in kinds:
            cls = lookup(PARTS, kind, "part")
            patch.setattr(cls, "build", noting(kind, cls.build))
        yield
    missing = [kind for kind in kinds if kind not in built]
    if missing:
        pytest.fail(f"marked as a reference of {', '.join(missing)}, which the test never built", pytrace=False)


def marks() -> dict[str, list[str]]:
    """Return the tests that are marked with each kind."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for item in ast.parse(path.read_text("utf-8")).body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                for kind in _kinds(item):
                    found.setdefault(kind, []).append(f"{path.relative_to(TESTS.parent).as_posix()}::{item.name}")
    return found


def _kinds(test: ast.FunctionDef) -> Iterator[str]:
    """Yield the kinds of a test's marks, those of single parameters included."""
    for node in (node for decorator in test.decorator_list for node in ast.walk(decorator)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.reference":
            yield from (ast.literal_eval(argument) for argument in node.args)


def text() -> str:
    """Return what the file should hold."""
    return json.dumps(marks(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    WRITTEN.write_text(text())
