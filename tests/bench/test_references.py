"""Looped references: the list is current, every published model's parts are on it, and a mark cannot lie."""

import pytest

from clicksmith.bench.references import kinds_in, references
from clicksmith.bench.settings import contestants, settings_for
from clicksmith.embed.shape import Field, FieldShape
from clicksmith.interact.fm import FM
from clicksmith.models import MODELS, model_spec
from clicksmith.parts import to_plain
from references import WRITTEN, building, text

SETTINGS = ("frappe_x1", "movielens_1m", "movielenslatest_x1")


def test_the_list_is_current():
    assert WRITTEN.read_text() == text(), "run `python tests/references.py`"


@pytest.mark.parametrize("name", MODELS)
def test_every_part_of_a_published_model_is_held_to_a_loop(name):
    kinds = kinds_in(to_plain(model_spec(name)))
    assert [kind for kind in kinds if kind not in references()] == []


@pytest.mark.parametrize("dataset", SETTINGS)
def test_so_is_every_part_with_tuned_options(dataset):
    known = settings_for(dataset)
    kinds = {kind for one in contestants(known, list(known.models)) for kind in kinds_in(to_plain(one.spec))}
    assert kinds - set(references()) == set()


def test_kinds_are_those_that_build_each_once_and_a_part_of_the_users_own():
    spec = {"kind": "model_spec", "interact": {"kind": "parallel", "blocks": [{"kind": "fm"}, {"kind": "my_own"}]}}
    embed = {"kind": "embed", "dim": 4, "table": {"kind": "plain"}, "view_table": {"kind": "plain"}}
    assert kinds_in({**spec, "embed": embed}) == ("parallel", "fm", "my_own", "plain")


def test_a_part_that_is_built_inside_another_counts():
    with building(("fm", "first_order")):
        interact = model_spec("fm").interact
        interact.build(FieldShape(tuple(Field(f"f{i}", "id") for i in range(3)), 4))


def test_a_mark_of_a_part_that_is_not_built_fails_the_test():
    with (
        pytest.raises(pytest.fail.Exception, match=r"^marked as a reference of cin, which the test never built$"),
        building(("fm", "cin")),
    ):
        FM().build(FieldShape(tuple(Field(f"f{i}", "id") for i in range(3)), 4))


LIE = pytest.mark.reference("fm")  # by another name, so that the list does not have it


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception)
@LIE
def test_a_mark_that_lies():
    pass
