"""What is written by a script is what the script writes today."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from clicksmith.models import MODELS

DOCS = Path(__file__).parents[1] / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return script("make_models")


def test_the_tables_of_searches_are_current() -> None:
    page, made = (DOCS / "searches.md").read_text(), script("make_searches")
    assert page == made.current(page), "run `python docs/make_searches.py`"
    for dataset in made.DATASETS:
        assert page.count(made.BEGIN.format(dataset)) == page.count(made.END.format(dataset)) == 1


def test_figures_of_searches_are_those_of_the_summary() -> None:
    made = script("make_searches")
    shown = (("frappe_x1_rebuilt", "FM", True), ("movielens_1m", "FM", True), ("movielens_1m", "DeepFM", False))
    for dataset, backbone, tested in shown:
        rows = json.loads((made.RESULTS / dataset / "summary.json").read_text())["backbones"][backbone]["methods"]
        against = rows["dnis"]["against"]["dnis-dim"]
        assert (against["p"] is not None) == tested  # where each has one seed nothing is
        cells = next(text for text in made.tables(dataset).splitlines() if text.startswith("| DNIS | shorter"))
        cell = cells.split("|")[3 + made.BACKBONES.index(backbone)].strip()
        assert float(cell.rstrip("*").replace("−", "-")) == pytest.approx(against["auc"], abs=5e-5)
        assert cell.endswith("*") == (tested and against["p"] < 0.05)


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
