"""Every paper is indexed: its pieces cite it, its claims say how they are measured."""

import importlib
import inspect
import pkgutil

import pytest

from clicksmith import papers
from clicksmith.papers import PAPERS

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


@pytest.mark.parametrize("key", MODULES)
def test_the_record_is_whole(key):
    paper = PAPERS[key]
    assert paper.key == key
    assert paper.title and paper.authors and paper.venue and paper.year > 2000
    assert paper.url.startswith("https://")
