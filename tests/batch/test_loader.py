"""The order of rows."""

import numpy as np
import pytest

from clicksmith.batch.loader import BLOCK_ROWS, Loader
from clicksmith.encode.layout import HistoryColumn, HistoryLayout, IdColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.errors import UsageError

LAYOUT = Layout(slots=(Slot("row", 10**6),), ids=(IdColumn("row", "row"),), order=("row",))


def numbered(rows: int, every: int = 2) -> Store:
    ids = np.arange(rows, dtype=np.int32)[:, None]
    labels = (np.arange(rows) % every == 0).astype(np.float32)[:, None]
    return Store.of(EncodedRows(ids, np.zeros((rows, 0), np.float32), labels=labels), LAYOUT)


def seen(loader: Loader, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch.inputs.ids[:, 0].tolist() for batch in loader.batches(epoch, start)]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_every_row_comes_once_in_an_epoch_and_in_another_order_in_the_next(resident, monkeypatch):
    monkeypatch.setattr("clicksmith.batch.loader.BLOCK_ROWS", 40)
    monkeypatch.setattr("clicksmith.batch.loader.POOL_BLOCKS", 3)
    loader = Loader(numbered(1005), 20, seed=3, resident=resident)
    first, second = seen(loader, 0), seen(loader, 1)
    assert len(first) == loader.steps == 51
    assert [len(b) for b in first] == [20] * 50 + [5]
    assert sorted(flat(first)) == list(range(1005)) == sorted(flat(second))
    assert first != second
    assert seen(Loader(numbered(1005), 20, seed=3, resident=resident), 0) == first
    assert seen(Loader(numbered(1005), 20, seed=4, resident=resident), 0) != first


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_an_epoch_goes_on_at_any_step(resident, monkeypatch):
    monkeypatch.setattr("clicksmith.batch.loader.BLOCK_ROWS", 40)
    monkeypatch.setattr("clicksmith.batch.loader.POOL_BLOCKS", 3)
    loader = Loader(numbered(1005), 20, resident=resident)
    whole = seen(loader, 2)
    for start in (0, 1, 5, 6, 7, 49, 50, 51):
        assert seen(loader, 2, start) == whole[start:]


def test_a_pool_holds_neighbours_and_mixes_them(monkeypatch):
    monkeypatch.setattr("clicksmith.batch.loader.BLOCK_ROWS", 40)
    monkeypatch.setattr("clicksmith.batch.loader.POOL_BLOCKS", 2)
    batches = seen(Loader(numbered(800), 20, resident=0), 0)
    pool = flat(batches[:4])
    assert len({row // 40 for row in pool}) == 2
    assert len({row // 40 for row in batches[0]}) == 2


def test_unshuffled_rows_come_in_their_order():
    assert flat(seen(Loader(numbered(50), 8, shuffle=False), 3)) == list(range(50))


def test_a_single_row_left_over_sits_the_epoch_out():
    loader = Loader(numbered(41), 20)
    assert [len(b) for b in seen(loader, 0)] == [20, 20]
    assert loader.steps == 2
    assert [len(b) for b in seen(Loader(numbered(1), 20), 0)] == [1]


def test_negatives_are_drawn_anew_each_epoch_and_clicks_all_stay():
    loader = Loader(numbered(1000, every=10), 64, negative_rate=0.25)
    first, second = (set(flat(seen(loader, epoch))) for epoch in (0, 1))
    clicks = set(range(0, 1000, 10))
    assert clicks <= first and clicks <= second
    assert len(first) == len(second) == loader.rows == 100 + 225
    assert first != second


def test_only_the_histories_of_the_users_in_a_batch_are_gathered():
    history = HistoryLayout("seen", (HistoryColumn("row", "row", "row"),), 3)
    layout = Layout(slots=(Slot("row", 100),), ids=(IdColumn("row", "row"),), histories=(history,), order=("row",))
    owner = np.repeat(np.arange(20, dtype=np.int32), 3)
    histories = np.arange(60, dtype=np.int32).reshape(20, 3, 1)
    rows = EncodedRows(
        np.arange(60, dtype=np.int32)[:, None],
        np.zeros((60, 0), np.float32),
        histories={"seen": histories},
        owner=owner,
    )
    loader = Loader(Store.of(rows, layout), 4)
    for batch in loader.batches(0):
        ids, users = batch.inputs.histories["seen"].ids, set((batch.inputs.ids[:, 0] // 3).tolist())
        assert len(ids) == len(users)
        assert batch.inputs.owner is not None
        for row, place in zip(batch.inputs.ids[:, 0].tolist(), batch.inputs.owner.tolist(), strict=True):
            assert ids[place, 0, 0] == 3 * (row // 3)


def test_blocks_hold_whole_batches():
    assert Loader(numbered(300_000), 10_000, resident=0)._block == 60_000 <= BLOCK_ROWS


def test_a_batch_of_no_rows_is_refused():
    with pytest.raises(UsageError, match=r"batch_size is 0; it must be at least 1\."):
        Loader(numbered(10), 0)


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_batches_of_one_row_have_every_row(resident):
    loader = Loader(numbered(7), 1, resident=resident)
    batches = seen(loader, 0)
    assert loader.steps == len(batches) == 7 and sorted(flat(batches)) == list(range(7))
