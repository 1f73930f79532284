"""Memory does not grow with a store that is read block by block."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from clicksmith.batch.loader import Loader
from clicksmith.encode.arrays import writing
from clicksmith.encode.assemble import Share
from clicksmith.encode.layout import IdColumn, Layout, Slot
from clicksmith.encode.store import Store, finish_store

COLUMNS, ROWS, PIECE = 72, 1 << 20, 1 << 16
LAYOUT = Layout(
    slots=(Slot("x", 1 << 21),),
    ids=tuple(IdColumn(f"c{i}", "x") for i in range(COLUMNS)),
    order=tuple(f"c{i}" for i in range(COLUMNS)),
)


def written(folder: Path, rows: int) -> Store:
    with writing(folder) as writer:
        for start in range(0, rows, PIECE):
            ids = np.repeat(np.arange(start, min(start + PIECE, rows), dtype=np.int32)[:, None], COLUMNS, 1)
            writer.append({"log:ids": ids, "log:numeric": np.zeros((len(ids), 0), np.float32)})
        finish_store(writer, LAYOUT, Share(tuple(range(COLUMNS)), ()), {}, "")
    return Store.open(folder)


def resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_epoch_over_300_megabytes_takes_less_than_60_megabytes(tmp_path, monkeypatch):
    monkeypatch.setattr("clicksmith.batch.loader.POOL_BLOCKS", 2)
    loader = Loader(written(tmp_path / "rows", ROWS), 4096, resident=0)
    before, most = resident(), 0
    for number, batch in enumerate(loader.batches(0)):
        assert len(batch.inputs) == 4096
        most = max(most, resident()) if number % 8 == 0 else most
    assert most - before < 60 << 20


def test_mapped_batches_equal_those_from_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("clicksmith.batch.loader.BLOCK_ROWS", 256)
    monkeypatch.setattr("clicksmith.batch.loader.POOL_BLOCKS", 3)
    mapped = written(tmp_path / "rows", 5000)
    memory = Store.of(mapped.take(np.arange(5000)), LAYOUT)
    pairs = zip(Loader(mapped, 64, resident=0).batches(1), Loader(memory, 64, resident=0).batches(1), strict=True)
    for one, other in pairs:
        assert one.inputs.ids.equal(other.inputs.ids)
