"""What is written by a script is what the script writes today."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from clicksmith.models import MODELS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", DOCS / "make_models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_models_is_current(maker: ModuleType) -> None:
    page = (DOCS / "models.md").read_text()
    assert page == maker.current(page), "run `python docs/make_models.py`"


def test_every_model_has_a_row_and_all_its_options(maker: ModuleType) -> None:
    tables = maker.tables()
    assert [name for name in MODELS if tables.count(f"\n| `{name}` |") != 2] == []


def test_a_stale_page_is_noticed(maker: ModuleType) -> None:
    stale = f"before\n{maker.BEGIN}\nold\n{maker.END}\nafter\n"
    fresh = maker.current(stale)
    assert fresh.startswith("before\n") and fresh.endswith(f"{maker.END}\nafter\n")
    assert "old" not in fresh.splitlines()
