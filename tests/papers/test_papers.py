"""Every paper is indexed: its pieces cite it, its claims say how they are measured."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from statistics import mean

import pytest

from clicksmith import papers
from clicksmith.bench.row import read_row
from clicksmith.papers import PAPERS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
MODULES = [m.name for m in pkgutil.iter_modules(papers.__path__)]


def test_every_file_is_indexed_under_its_own_name():
    assert sorted(PAPERS) == sorted(MODULES)


@pytest.mark.parametrize("key", MODULES)
def test_every_piece_cites_its_paper(key):
    module = importlib.import_module(f"clicksmith.papers.{key}")
    for piece in module.PIECES:
        assert f"Paper: {key}" in (inspect.getdoc(piece) or ""), f"{piece.__name__} does not say `Paper: {key}`"


@pytest.mark.parametrize("key", MODULES)
def test_every_claim_has_a_command_or_says_why_not(key):
    claims = PAPERS[key].claims
    assert claims or PAPERS[key].note
    for claim in claims:
        assert claim.command.startswith(("clicksmith ", "python benchmarks/", "not reproduced: ")), claim.command
        assert 0 < claim.tolerance < abs(claim.value)


@pytest.mark.parametrize("claim", [pytest.param(c, id=c.rows) for key in MODULES for c in PAPERS[key].claims if c.rows])
def test_what_is_said_to_be_reproduced_is_reached_by_the_committed_rows(claim):
    rows = [read_row(path) for path in sorted((RESULTS / claim.rows).glob("*.json"))]
    assert rows and claim.command.startswith("clicksmith bench run ") and f"--models {rows[0].model}" in claim.command
    measured = mean(row.done.test.values[claim.metric.lower()].value for row in rows)
    assert measured >= claim.value - claim.tolerance


@pytest.mark.parametrize("key", MODULES)
def test_the_record_is_whole(key):
    paper = PAPERS[key]
    assert paper.key == key
    assert paper.title and paper.authors and paper.venue and paper.year > 2000
    assert paper.url.startswith("https://")
