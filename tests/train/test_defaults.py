import pytest

from clicksmith.fitting.asked import settings_for
from clicksmith.train.defaults import default_settings

SIZES = [0, 1, 10, 10_000, 202_027, 1_000_000, 33_000_000, 10**9]


@pytest.mark.parametrize("rows", SIZES)
def test_larger_data_take_larger_batches_fewer_epochs_and_less_l2(rows):
    here, more = default_settings(rows), default_settings(4 * rows + 1)
    assert here.batch_size <= more.batch_size
    assert here.epochs >= more.epochs
    assert here.table_l2 >= more.table_l2


@pytest.mark.parametrize("rows", SIZES)
def test_fit_starts_from_these_settings_and_keeps_what_the_user_names(rows):
    assert settings_for(None, rows, epochs=None, seed=None) == default_settings(rows)
    named = settings_for({"table_l2": 0.0, "batch_size": 7}, rows, epochs=2, seed=3)
    assert (named.table_l2, named.batch_size, named.epochs, named.seed) == (0.0, 7, 2, 3)
