"""Settings, schedules, monitors, counts: values on their own."""

from itertools import pairwise

import numpy as np
import pytest
from worlds import clicks

from clicksmith.encode.layout import DOMAIN, IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import UsageError
from clicksmith.train.counts import id_counts
from clicksmith.train.devices import precision_of
from clicksmith.train.schedule import learning_rate
from clicksmith.train.settings import TrainSettings


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1."),
        ({"batch_size": -1}, "batch_size is -1; it must be at least 1."),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be positive and finite."),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be positive and finite."),
        ({"clip_norm": 0.0}, "clip_norm is 0.0; it must be positive and finite."),
        ({"negative_rate": 1.5}, "negative_rate is 1.5; it must be at most 1."),
        ({"table_l2": -1.0}, "table_l2 is -1.0; it must be at least 0."),
        ({"patience": 0}, "patience is 0; it must be at least 1."),
        ({"schedule": "linear"}, "schedule is 'linear'; it must be 'constant' or 'cosine'."),
        ({"precision": "fp16"}, "precision is 'fp16'; it must be 'auto' or 'fp32' or 'bf16'."),
        ({"epochs": 1.5}, "epochs is 1.5; it must be a whole number."),
        ({"patience": "3"}, "patience is '3'; it must be a whole number or None."),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; it must be a number."),
        ({"restore_best": 1}, "restore_best is 1; it must be True or False."),
        ({"accumulate": 9, "batch_size": 4}, "accumulate is 9 with batch_size 4; it must not be larger."),
        (
            {"l2_mode": "dense", "table_update": "lazy"},
            "l2_mode='dense' reaches rows that table_update='lazy' does not; "
            "use table_update='dense', or l2_mode='touched' or 'batch'.",
        ),
        (
            {"l2_mode": "batch", "table_update": "dense", "table_l2": 0.1},
            "l2_mode='batch' acts on the rows of a batch and table_update='dense' on all; "
            "use table_update='exact' or 'lazy', or l2_mode='dense'.",
        ),
        (
            {"optimizer": "sgd", "table_update": "exact"},
            "table_update='exact' and l2_mode='auto' are of Adam; optimizer='sgd' moves the rows of a batch only. "
            "Leave them 'auto'.",
        ),
    ],
)
def test_every_setting_is_checked(change, text):
    with pytest.raises(UsageError) as error:
        TrainSettings(**change)
    assert str(error.value) == text


def test_numbers_of_numpy_are_numbers():
    given = TrainSettings(epochs=np.int64(3), learning_rate=np.float32(0.5), restore_best=np.bool_(False))  # type: ignore[arg-type]
    assert given == TrainSettings(epochs=3, learning_rate=0.5, restore_best=False)
    assert type(given.epochs) is int


def test_cosine_ends_at_the_floor_after_a_warm_up():
    settings = TrainSettings(learning_rate=1.0, schedule="cosine", warmup_steps=10, lr_floor=0.1)
    rates = [learning_rate(settings, step, 110, 1.0) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[60] == pytest.approx(0.55) and rates[110] == pytest.approx(0.1)
    assert all(b <= a for a, b in pairwise(rates[10:]))


def test_counts_are_those_of_the_rows():
    store = clicks(500)
    ids = store.slice(0, 500).ids
    counts = id_counts(store)
    for column, name in enumerate(("user", "ad", "hour")):
        for value in range(len(counts[name])):
            assert counts[name][value] == np.count_nonzero(ids[:, column] == value)


def test_a_field_named_domain_and_the_domains_are_counted_apart():
    layout = Layout(ids=(IdColumn("domain", "domain"),), slots=(Slot("domain", 3),), order=("domain",), domains=4)
    rows = EncodedRows(
        ids=np.array([[1], [2], [2]], np.int32),
        numeric=np.zeros((3, 0), np.float32),
        domain=np.array([3, 3, 1], np.int32),
    )
    counts = id_counts(Store.of(rows, layout))
    assert counts["domain"].tolist() == [0, 1, 2]
    assert counts[DOMAIN].tolist() == [0, 1, 0, 2]


def test_a_wish_for_a_precision_is_met():
    import torch

    assert precision_of("bf16", torch.device("cpu")) == "bf16"
    assert precision_of("auto", torch.device("cpu")) in ("fp32", "bf16")


@pytest.mark.parametrize("name", ["lr_floor", "table_l2", "dense_l2", "min_delta"])
def test_what_must_be_finite_is(name):
    with pytest.raises(UsageError, match=f"{name} is inf; it must be finite"):
        TrainSettings(**{name: float("inf")})
