"""Files and folders appear whole or not at all, and what killed processes left is cleared."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clicksmith import files
from clicksmith.errors import StorageError
from clicksmith.files import atomic_file, atomic_folder, check_folder, save_tensors

KILLED = """
import os, signal, sys
from pathlib import Path
from clicksmith.files import atomic_file, atomic_folder
with atomic_folder(Path(sys.argv[1]) / "rows") as folder, atomic_file(Path(sys.argv[1]) / "note") as note:
    (folder / "part").write_text("half")
    note.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_cleared_by_the_next_writer(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    files.write_bytes(tmp_path / "note", b"whole")
    with files.atomic_folder(tmp_path / "rows") as beside:
        (beside / "part").write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note", "rows"]


def test_what_living_processes_and_other_machines_write_is_left_alone(tmp_path):
    with files.atomic_folder(tmp_path / "rows") as first:
        own = first.name
    living = tmp_path / own.replace(str(os.getpid()), str(os.getppid()))
    others = [living, tmp_path / ".rows.elsewhere-999999999.tmp", tmp_path / own.replace(".rows.", ".rows.txt.")]
    for other in others:
        other.mkdir()
    with files.atomic_folder(tmp_path / "rows"):
        pass
    files.write_bytes(tmp_path / "row", b"")
    assert living.name != own and all(other.is_dir() for other in others)


def test_a_folder_is_replaced_in_one_step(tmp_path, monkeypatch):
    target = tmp_path / "rows"
    for text in ("old", "new"):
        with files.atomic_folder(target) as beside:
            (beside / "part").write_text(text)
            if text == "new" and sys.platform == "linux":
                monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("a kill between two renames loses both"))
    assert (target / "part").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["rows"]


REPLACED = """
import os, signal, sys
from pathlib import Path
from clicksmith import files
from clicksmith.errors import StorageError
target, point = Path(sys.argv[1]) / "rows", int(sys.argv[2])
step = [0]
def killing(real):
    def act(*given):
        found = real(*given)
        step[0] += 1
        if step[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return act
files._exchange = killing(files._exchange) if sys.argv[3] == "swap" else lambda *_: False
Path.replace = killing(Path.replace)
with files.atomic_folder(target, durable=True) as beside:
    (beside / "part").write_text("new")
    if point == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("how", "point", "found"),
    [("rename", 0, "old"), ("rename", 1, "old"), ("rename", 2, "new"), ("swap", 0, "old"), ("swap", 1, "new")],
)
def test_a_folder_survives_a_kill_at_every_point_of_its_replacement(tmp_path, how, point, found):
    target = tmp_path / "rows"
    target.mkdir()
    (target / "part").write_text("old")
    if how == "swap" and sys.platform != "linux":
        pytest.skip("folders are swapped on Linux only")
    ended = subprocess.run([sys.executable, "-c", REPLACED, str(tmp_path), str(point), how], check=False)
    assert ended.returncode < 0
    files.recover(target)
    assert (target / "part").read_text() == found
    with files.atomic_folder(target) as beside:
        (beside / "part").write_text("next")
    assert [p.name for p in tmp_path.iterdir()] == ["rows"] and (target / "part").read_text() == "next"


def test_the_next_writer_takes_the_old_folder_back_before_it_clears(tmp_path):
    (tmp_path / "rows").mkdir()
    subprocess.run([sys.executable, "-c", REPLACED, str(tmp_path), "1", "rename"], check=False)
    assert not (tmp_path / "rows").exists()
    with pytest.raises(RuntimeError), files.atomic_folder(tmp_path / "rows"):
        raise RuntimeError("the next run fails too")
    assert [p.name for p in tmp_path.iterdir()] == ["rows"]


def test_a_failing_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "rows"
    target.mkdir()
    (target / "part").write_text("old")
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    real = Path.replace

    def replace(self: Path, other: Path) -> Path:
        if other == target and not self.name.endswith(".old.tmp"):
            raise OSError(5, "Input/output error")
        return real(self, other)

    monkeypatch.setattr(Path, "replace", replace)
    with (
        pytest.raises(StorageError, match=r"^could not write '.*rows': Input/output error\.$"),
        files.atomic_folder(target),
    ):
        pass
    assert (target / "part").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["rows"]


def test_a_durable_folder_is_flushed_file_by_file_before_it_takes_its_name(tmp_path, monkeypatch):
    flushed: list[str] = []
    real = files._flush
    monkeypatch.setattr(files, "_flush", lambda path: (flushed.append(path.name), real(path)))
    with files.atomic_folder(tmp_path / "rows", durable=True) as beside:
        (beside / "inner").mkdir()
        (beside / "inner" / "part").write_text("x")
    assert set(flushed[:2]) == {"inner", "part"}
    assert flushed[2].startswith(".rows.") and flushed[3:] == [tmp_path.name]


def test_what_safetensors_meets_on_the_disk_is_told_like_what_python_meets(tmp_path):
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"could not write '.*weights': File too large\."):  # noqa: SIM117
            with atomic_folder(tmp_path / "weights") as folder:
                save_file({"w": torch.zeros(1000)}, folder / "w.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageError, match=r"no space left on the disk while writing '.*w'; nothing was changed"):  # noqa: SIM117
        with atomic_file(tmp_path / "w"):
            raise SafetensorError(text)
    with pytest.raises(StorageError, match=r"could not write '.*w': dtype"), atomic_file(tmp_path / "w"):
        raise SafetensorError("dtype")
    assert list(tmp_path.iterdir()) == []


def test_pipes_and_devices_are_not_replaced_by_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to device").symlink_to(os.devnull)
    for path in (tmp_path / "pipe", tmp_path / "to device"):
        with pytest.raises(StorageError) as error:
            files.write_bytes(path, b"x")
        assert str(error.value) == (
            f"'{path}' is a pipe or a device where a file is to be written; choose another name."
        )
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "to device").is_char_device()
    (tmp_path / "file").write_text("old")
    (tmp_path / "to file").symlink_to(tmp_path / "file")
    files.write_bytes(tmp_path / "to file", b"new")
    assert (tmp_path / "to file").read_text() == "new"


@pytest.mark.parametrize("wait", [False, True])
def test_a_disk_without_locks_is_not_taken_for_another_run(tmp_path, monkeypatch, wait):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", refused)
    with pytest.raises(StorageError, match=r"^could not write '.*run': No locks available\.$"):  # noqa: SIM117
        with files.locked(tmp_path / "run", wait=wait):
            pass


def test_a_path_that_cannot_be_is_told_with_what_to_do(tmp_path):
    path = tmp_path / ("x" * 300)
    with pytest.raises(OSError, match="too long") as found:
        path.mkdir()
    assert str(files.storage_error(found.value, path)).endswith("File name too long; choose another folder.")


def test_a_file_in_the_way_of_the_folder_is_told_before_and_while_it_is_written(tmp_path):
    (tmp_path / "rows").write_text("x")
    with pytest.raises(StorageError, match=r"rows' is a file where a folder is to be written"):
        check_folder(tmp_path / "rows" / "deep" / "er")
    with (
        pytest.raises(StorageError, match=r"could not write '.*rows/out.csv': .*; choose another folder\.$"),
        atomic_file(tmp_path / "rows" / "out.csv"),
    ):
        pass
    check_folder(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()


def test_tensors_may_be_read_by_whoever_may_read_a_new_file(tmp_path):
    (tmp_path / "any").touch()
    save_tensors(tmp_path / "weights.safetensors", {"w": torch.ones(2)}, metadata={"digest": "x"})
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["w"], torch.ones(2))
