"""Stores: memory-mapped rows, whole or not there at all, reused only for the same content."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clicksmith import files
from clicksmith.batch.store import Store, cached_encode, cached_fit_encode
from clicksmith.encode import arrays, delimited, spool
from clicksmith.encode.encoder import Encoder
from clicksmith.errors import ArtifactError, DataError, StorageError
from clicksmith.schema import Bag, Behaviour, Categorical, Label, Numeric, Schema

SCHEMA = Schema(
    fields=(Categorical("a"), Numeric("n"), Bag("tags", max_length=2)),
    behaviours=(Behaviour("clicks", of="a", max_length=3),),
    label=Label("click"),
    group="a",
)


def rows(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(n)
    a = [f"v{i}" for i in rng.integers(0, 50, n)]
    return pl.DataFrame(
        {"a": a, "n": rng.normal(size=n), "tags": a, "clicks": a, "click": (rng.random(n) < 0.3).astype(int)}
    )


def assert_same(one, two) -> None:
    for name in ("ids", "numeric", "labels", "group"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.bags["tags"].tolist() == two.bags["tags"].tolist()
    assert one.histories["clicks"].tolist() == two.histories["clicks"].tolist()


def test_one_pass_equals_fit_then_encode_in_any_block_size(tmp_path, monkeypatch):
    rows(3000).write_csv(tmp_path / "log.csv")
    encoder, store = Encoder.fit_encode(SCHEMA, tmp_path / "log.csv", tmp_path / "one")
    monkeypatch.setattr(delimited, "BLOCK", 3000)
    again = Encoder.fit(SCHEMA, tmp_path / "log.csv")
    other = again.encode_to(tmp_path / "log.csv", tmp_path / "two")
    assert again.digest == encoder.digest and store.rows == other.rows == len(store) == 3000
    assert_same(store.slice(0, 3000), other.slice(0, 3000))
    assert_same(store.slice(0, 3000), encoder.encode(rows(3000), labels=True))
    assert {p.name for p in tmp_path.iterdir()} == {"log.csv", "one", "two"}
    assert not list(tmp_path.rglob("*.tmp"))


def test_slices_are_views_and_takes_are_copies_in_order(tmp_path):
    _, store = Encoder.fit_encode(SCHEMA, rows(500), tmp_path / "rows")
    piece = store.slice(100, 200)
    assert len(piece) == 100 and piece.ids.base is not None and piece.ids.flags.c_contiguous
    assert np.shares_memory(piece.ids, store.slice(0, 500).ids)
    numbers = np.array([7, 3, 7, 499])
    taken = store.take(numbers)
    assert taken.ids.tolist() == store.slice(0, 500).ids[numbers].tolist()
    assert len(store.slice(490, 1000)) == 10 and len(store.slice(5, 5)) == 0
    assert store.targets["labels"].shape == (500, 1)
    piece.ids[:] = -5  # a batch may be written to; the files stay
    assert Store.open(tmp_path / "rows", verify=True).slice(100, 101).ids[0, 0] > 0


def test_the_layout_and_the_digest_come_back(tmp_path):
    encoder, store = Encoder.fit_encode(SCHEMA, rows(100), tmp_path / "rows")
    opened = Store.open(tmp_path / "rows", verify=True)
    assert opened.layout == encoder.layout and opened.digest == store.digest
    assert encoder.encode_to(rows(101), tmp_path / "other").digest != store.digest


def test_rows_in_memory_are_a_store_too():
    encoder = Encoder.fit(SCHEMA, rows(50))
    encoded = encoder.encode(rows(50), labels=True)
    store = Store.of(encoded, encoder.layout)
    assert_same(store.slice(0, 50), encoded)
    assert_same(store.take(np.arange(50)), encoded)
    assert store.digest == Store.of(encoded, encoder.layout).digest
    other = Encoder.fit(Schema(fields=(Categorical("a"),), label=Label("click")), rows(50))
    with pytest.raises(DataError, match="rows with 1 id and 1 numeric columns do not fit a layout with 1 and 0"):
        Store.of(encoded, other.layout)


def test_shared_histories_in_memory_keep_their_owner():
    from clicksmith.encode.rows import EncodedRows

    encoder = Encoder.fit(SCHEMA, rows(50))
    encoded = encoder.encode(rows(4))
    shared = EncodedRows(
        encoded.ids, encoded.numeric, encoded.bags, histories={"clicks": encoded.histories["clicks"][:2]},
        owner=np.array([1, 0, 1, 1], np.int32),
    )  # fmt: skip
    got = Store.of(shared, encoder.layout).slice(2, 4)
    assert got.owner.tolist() == [0, 0] and got.histories["clicks"].tolist() == [
        encoded.histories["clicks"][1].tolist()
    ]


def test_damage_is_found(tmp_path):
    Encoder.fit_encode(SCHEMA, rows(100), tmp_path / "rows")
    entry = json.loads((tmp_path / "rows" / "manifest.json").read_text())["arrays"]["log:ids"]
    file = tmp_path / "rows" / entry["file"]
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    Store.open(tmp_path / "rows")
    with pytest.raises(ArtifactError, match="is damaged: its checksum differs"):
        Store.open(tmp_path / "rows", verify=True)
    file.write_bytes(data[:-4])
    with pytest.raises(ArtifactError, match="is missing or truncated: 400 bytes are expected"):
        Store.open(tmp_path / "rows")
    with pytest.raises(ArtifactError, match="is not a finished store"):
        Store.open(tmp_path)


def test_the_cache_is_reused_for_the_same_content_and_made_anew_for_another(tmp_path):
    log, cache = tmp_path / "log.csv", tmp_path / "cache"
    rows(200).write_csv(log)
    first = cached_fit_encode(SCHEMA, log, cache)
    second = cached_fit_encode(SCHEMA, log, cache)
    assert (first.reused, second.reused) == (False, True)
    assert second.encoder.digest == first.encoder.digest and second.store.digest == first.store.digest
    assert cached_encode(second.encoder, log, cache).reused is False
    assert cached_encode(second.encoder, log, cache).reused is True
    stamp = log.stat()
    log.write_text(log.read_text().replace("v1,", "w1,"))
    os.utime(log, (stamp.st_atime, stamp.st_mtime))
    changed = cached_fit_encode(SCHEMA, log, cache)
    assert not changed.reused and "w1" in changed.encoder.values("a")
    other = Schema(fields=(Categorical("a"),), label=Label("click"))
    assert not cached_fit_encode(other, log, cache).reused
    damaged = next(cache.rglob("rows/000.bin"))
    damaged.write_bytes(b"\0" * damaged.stat().st_size)
    found = [cached_fit_encode(s, log, cache).reused for s in (SCHEMA, other)] + [
        cached_encode(first.encoder, rows(200), cache).reused
    ]
    assert False in found
    assert all(cached_fit_encode(s, log, cache).reused for s in (SCHEMA, other))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "rows"
    expected = "no space left on the disk while writing"
    with monkeypatch.context() as patched:
        patched.setattr(arrays.ArrayWriter, "append", lambda self, a: full())
        with pytest.raises(StorageError, match=expected):
            Encoder.fit_encode(SCHEMA, rows(100), folder)
    with monkeypatch.context() as patched:
        patched.setattr(spool.np, "ascontiguousarray", full)
        with pytest.raises(StorageError, match=expected):
            Encoder.fit_encode(SCHEMA, rows(100), folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_device_that_is_full_gives_the_same_sentence(tmp_path):
    writer = arrays.ArrayWriter(tmp_path / "x")
    (tmp_path / "x" / "000.bin").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="no space left on the disk while writing"):
        writer.append({"a": np.zeros(10)})
    writer.close()


SLOW = """
import sys
from clicksmith.encode import encoder
from clicksmith.schema import Categorical, Label, Schema
def progress(done, of):
    print(done, flush=True)
    if done > 5000:
        import time; time.sleep(60)
schema = Schema(fields=(Categorical("a"),), label=Label("click"))
encoder.Encoder.fit_encode(schema, sys.argv[1], sys.argv[2], progress=progress)
"""


def test_a_run_killed_in_the_middle_leaves_no_half_made_store(tmp_path):
    log, folder = tmp_path / "log.csv", tmp_path / "out" / "rows"
    pl.concat([rows(5000)] * 60).write_csv(log)
    run = subprocess.Popen([sys.executable, "-c", SLOW, str(log), str(folder)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    while int(run.stdout.readline()) <= 5000:
        pass
    time.sleep(0.05)
    assert any(folder.parent.iterdir())  # it is at work, beside
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not folder.exists()
    with pytest.raises(ArtifactError, match="is not a finished store"):
        Store.open(folder)
    schema = Schema(fields=(Categorical("a"),), label=Label("click"))
    assert Encoder.fit_encode(schema, log, folder)[1].rows == 300_000


ENCODE = """
import sys
from clicksmith.batch.store import cached_encode, cached_fit_encode
from clicksmith.schema import Categorical, Label, Schema
def progress(done, of):
    print("at work", flush=True)
    sys.stdin.readline()
schema = Schema(fields=(Categorical("a"),), label=Label("click"))
first = cached_fit_encode(schema, sys.argv[1], sys.argv[2], progress=progress)
second = cached_encode(first.encoder, sys.argv[1], sys.argv[2], progress=progress)
print(first.reused, first.store.rows, second.reused, second.store.rows, flush=True)
"""


def test_a_second_process_waits_for_the_one_that_encodes_the_same_and_says_so(tmp_path):
    log, cache = tmp_path / "log.csv", tmp_path / "cache"
    rows(500).write_csv(log)
    command = [sys.executable, "-c", ENCODE, str(log), str(cache)]
    pipe = subprocess.PIPE
    first = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert first.stdout is not None and first.stdout.readline() == "at work\n"
    second = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
    assert second.stderr is not None
    (folder,) = cache.iterdir()
    assert f"waiting for '{folder}', which process {first.pid} is writing" in second.stderr.readline()
    (fit, encoded), (fit_too, encoded_too) = (p.communicate()[0].split()[-4::2] for p in (first, second))
    assert (fit, fit_too) == ("False", "True")
    assert {encoded, encoded_too} == {"False", "True"}  # either was the first to get there


def test_who_waits_is_told_of_the_holder_only_after_a_moment(tmp_path, monkeypatch):
    told: list[str] = []
    with files.locked(tmp_path, wait=True, noted=told.append):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
        with pytest.raises(StorageError, match="is being written by another run"), files.locked(tmp_path):
            pass
    assert told == []
