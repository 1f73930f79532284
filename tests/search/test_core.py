"""The core of the searches: rows kept apart, batches of the search's own rows, start files."""

import numpy as np
import pytest
import torch

from clicksmith.encode.picked import Picked
from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.fitting.asked import new_model
from clicksmith.models import model_spec
from clicksmith.search.job import divided
from clicksmith.search.knobs import KnobBatches
from clicksmith.train.checkpoint import weights_of
from clicksmith.train.start import load_start, save_start
from train.worlds import LAYOUT, clicks


def test_rows_of_the_knobs_are_taken_off_by_the_seed_and_no_row_is_in_both():
    store = clicks(500)
    train, knobs = divided(store, 0.2, 3)
    assert knobs is not None and (train.rows, knobs.rows) == (400, 100)
    price = [part.slice(0, part.rows).numeric[:, 0] for part in (train, knobs)]
    whole = store.slice(0, 500).numeric[:, 0]
    np.testing.assert_array_equal(np.sort(np.concatenate(price)), np.sort(whole))
    again = divided(store, 0.2, 3)[1]
    other = divided(store, 0.2, 4)[1]
    assert again is not None and other is not None
    assert knobs.digest == again.digest != other.digest
    assert divided(store, 0, 3) == (store, None)
    with pytest.raises(DataError, match="too few to train on"):
        divided(clicks(4), 0.2, 0)


def test_picked_rows_are_those_of_the_store():
    store = clicks(50)
    numbers = np.array([40, 3, 7])
    picked, whole = Picked(store, numbers), store.slice(0, 50)
    np.testing.assert_array_equal(picked.take(np.array([2, 0])).ids, whole.ids[[40, 3]])
    np.testing.assert_array_equal(picked.slice(0, 10).ids, whole.ids[[3, 7, 40]])
    np.testing.assert_array_equal(picked.targets["labels"], whole.labels[[3, 7, 40]])


def test_batches_of_the_knobs_do_not_depend_on_where_one_begins():
    store = clicks(70)
    whole, late = KnobBatches(store, 16, seed=1), KnobBatches(store, 16, seed=1)
    seen = [whole.batch(i).inputs.ids for i in range(12)]
    for i in (7, 8, 9, 10, 11):
        torch.testing.assert_close(late.batch(i).inputs.ids, seen[i])
    assert not torch.equal(seen[0], seen[5])
    assert sum(len(ids) for ids in seen[:5]) == 70


def test_a_start_file_fits_its_model_and_no_other(tmp_path):
    spec, path = model_spec("fm", dim=4), tmp_path / "start.safetensors"
    one, two = new_model(spec, LAYOUT, 0), new_model(spec, LAYOUT, 1)
    save_start(one, path)
    load_start(two, path)
    for name, tensor in weights_of(one).items():
        torch.testing.assert_close(weights_of(two)[name], tensor, rtol=0, atol=0)
    with pytest.raises(UsageError, match="weights of another model"):
        load_start(new_model(model_spec("fm", dim=5), LAYOUT, 0), path)
    path.write_bytes(b"none")
    with pytest.raises(ArtifactError, match="cannot read the start file"):
        load_start(two, path)
