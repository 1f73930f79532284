"""The map of the code: folders, the import contract and the docs agree."""

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "clicksmith"
FILES = sorted(SOURCE.rglob("*.py"))


def layers() -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    return re.findall(r"\w+", config["importlinter:contract:flow"]["layers"])


def test_every_folder_stands_in_the_import_contract_and_on_the_map() -> None:
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders <= set(layers())
    table = (ROOT / "docs" / "map.md").read_text()
    assert {name for name in folders if f"| `{name}/` |" not in table} == set()


def test_the_contract_lists_the_flow_in_the_order_of_the_package_docstring() -> None:
    flow = ["serve", "train", "evaluate", "loss", "models", "head", "embed", "batch", "encode", "schema"]
    positions = [layers().index(name) for name in flow]
    assert positions == sorted(positions)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_file_is_named_for_a_drawer(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "base", "misc"}


def test_nothing_unpickles_or_evaluates_text() -> None:
    banned = {"eval", "exec", "pickle", "marshal", "shelve"}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in banned, f"{path}:{node.lineno} calls {node.func.id}"
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.split(".")[0] for alias in node.names}, f"{path}:{node.lineno}"
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, f"{path}:{node.lineno}"


def test_models_do_not_import_each_other() -> None:
    shared = {"spec", "register"}
    names = {p.stem for p in (SOURCE / "models").glob("*.py")} - shared - {"__init__"}
    for name in names:
        text = (SOURCE / "models" / f"{name}.py").read_text()
        imported = set(re.findall(r"clicksmith\.models\.(\w+)", text))
        assert imported <= shared, f"models/{name}.py imports {sorted(imported - shared)}"
