"""Files and folders appear whole or not at all, and what killed processes left is cleared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clicksmith import files

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
