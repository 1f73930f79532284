"""The controls: the right ids, the right number of them, and sizes that hold in the model."""

import numpy as np
import polars as pl
import pytest

from clicksmith.embed.rows import row_stores
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import UsageError
from clicksmith.models import model_spec
from clicksmith.models.planned import spec_under
from clicksmith.models.spec import CTRModel
from clicksmith.plan import Plan
from clicksmith.plan.apply import apply_plan
from clicksmith.schema import Categorical, Label, Schema
from clicksmith.search.controls import frequency_cut, random_ids, uniform_width

SCHEMA = Schema(fields=(Categorical("a"), Categorical("b")), label=Label("click"))
ROWS = pl.DataFrame({"a": [*"xxxxyyyzz"] * 4, "b": [*"ppqqqrrrr"] * 4, "click": [0, 1, 0] * 12})


@pytest.fixture(scope="module")
def encoder():
    return Encoder.fit(SCHEMA, ROWS)


def test_the_frequent_ids_stay(encoder):
    part = frequency_cut(encoder, 3)
    kept = {
        slot: {v for v, k in zip(encoder.fitted.vocabularies[slot].values.to_list(), mask.values[2:], strict=True) if k}
        for slot, mask in part.slots.items()
    }
    assert kept["a"] | kept["b"] >= {"x", "r"} and sum(len(k) for k in kept.values()) == 3


def test_as_many_random_ids_stay_and_the_seed_says_which(encoder):
    masks = [np.concatenate([m.values for m in random_ids(encoder, 4, seed).slots.values()]) for seed in range(6)]
    assert all(mask.sum() == 4 + 2 * 2 for mask in masks)
    assert len({mask.tobytes() for mask in masks}) > 1
    assert random_ids(encoder, 4, 1) == random_ids(encoder, 4, 1)


def test_the_uniform_width_is_the_largest_that_fits(encoder):
    part = uniform_width(encoder, 8, 60)
    applied = apply_plan(Plan(parts=(part,)), encoder)
    model = CTRModel(spec_under(applied, model_spec("dnn", dim=8, units=(4,))), applied.encoder.layout)
    size = sum(store.weight.numel() for store in row_stores(model))
    assert size <= 60 < size + 2 * 4
    with pytest.raises(UsageError, match=r"no width from 1 to 8 brings the main table to 3 parameters"):
        uniform_width(encoder, 8, 3)
    with pytest.raises(UsageError, match="keep is 99; it must be from 1 to the 6 features"):
        frequency_cut(encoder, 99)
