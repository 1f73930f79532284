"""Processes forked from a warm one: each is what `python -m` would begin, knows of no other, and none is left over."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clicksmith import forks
from clicksmith.errors import UsageError
from clicksmith.forks import ADDRESS, Forked, Piped, Server, start

ASKED = """
import json, os, random, sys, time
seen = 0
def main():
    global seen
    seen += 1
    what = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()
    if what == "tell":
        streams = [os.fstat(fd).st_ino for fd in (0, 1, 2)]
        print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), seen, os.getpid(), os.getsid(0), streams]))
        print("aside", file=sys.stderr)
    elif what == "draw":
        print(random.random())
    elif what == "raise":
        raise ValueError("no such thing")
    elif what == "exit":
        sys.exit(7)
    elif what == "die":
        os.kill(os.getpid(), 11)
    elif what == "echo":
        print(sys.stdin.read().upper(), end="")
    elif what == "sleep":
        print("ready", flush=True)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            return 130
    return 0
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows the module `asked`."""
    (tmp_path / "asked.py").write_text(ASKED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Server()
    monkeypatch.setenv(ADDRESS, server.address)
    yield server
    server.close()


class Begun:
    """A process with files for streams."""

    def __init__(self, *arguments: str, module: str = "asked", told: bytes = b"") -> None:
        self.files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
        self.files[0].write(told)
        self.files[0].seek(0)
        streams = [one.fileno() for one in self.files]
        self.process: Forked = start(module, *arguments, streams=streams, environment={"HERE": "yes"})

    def said(self, stream: int = 1) -> str:
        self.files[stream].seek(0)
        return self.files[stream].read().decode()

    def waits_until(self, words: str) -> None:
        until = time.monotonic() + 30
        while words not in self.said() and time.monotonic() < until:
            time.sleep(0.01)
        assert words in self.said()


def gone(process: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        status = Path(f"/proc/{process}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.usefixtures("server")
def test_it_has_the_arguments_folder_environment_and_streams_that_were_asked_for(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):  # the second knows nothing of the first
        one = Begun("tell", "a b", "")
        assert one.process.wait() == 0
        argv, folder, environment, seen, process, session, streams = json.loads(one.said())
        assert argv == ["asked", "tell", "a b", ""] and folder == str(tmp_path / "here") and seen == 1
        assert {key: value for key, value in environment.items() if key != "LC_CTYPE"} == {"HERE": "yes"}
        assert process == session == one.process.pid != os.getpid()
        assert streams == [os.fstat(file.fileno()).st_ino for file in one.files]
        assert one.said(2) == "aside\n"
    one = Begun("echo", told=b"quiet")
    assert one.process.wait() == 0 and one.said() == "QUIET"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("what", "status", "words"),
    [("raise", 1, "ValueError: no such thing"), ("exit", 7, ""), ("die", -signal.SIGSEGV, "")],
)
def test_its_end_is_told(what, status, words):
    one = Begun(what)
    assert one.process.wait() == one.process.wait() == status
    assert words in one.said(2)
    one.process.kill()  # long gone: nothing happens


@pytest.mark.usefixtures("server")
def test_a_module_that_cannot_be_imported_is_said_where_it_was_asked_for():
    one = Begun(module="no_such_module")
    assert one.process.wait() == 1
    assert "No module named 'no_such_module'" in one.said(2)
    assert Begun("tell").process.wait() == 0


@pytest.mark.usefixtures("server")
def test_processes_draw_different_numbers_and_signals_arrive_at_one():
    draws = [Begun("draw") for _ in range(4)]
    assert [one.process.wait() for one in draws] == [0] * 4
    assert len({one.said() for one in draws}) == 4
    first, second = Begun("sleep"), Begun("sleep")
    for one in (first, second):
        one.waits_until("ready")
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait() == 130
    assert first.said() == "ready\ninterrupted\n"
    second.process.kill()
    assert second.process.wait() == -signal.SIGKILL


def test_none_outlives_the_server(server):
    one = Begun("sleep")
    one.waits_until("ready")
    os.kill(server._process.pid, signal.SIGKILL)
    assert one.process.wait() == -signal.SIGKILL
    assert gone(one.process.pid)
    with pytest.raises(UsageError, match=f"nobody listens at '.*socket' .*; unset {ADDRESS} if it names that"):
        Begun("tell")


ASKER = """
import os, time
from clicksmith.forks import start
process = start("asked", "sleep", streams=(0, 2, 2), environment=os.environ)
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("own", [False, True])
def test_none_outlives_who_asked(server, own, monkeypatch):
    """Whether the one that asked has a server of its own or uses another's."""
    if own:
        monkeypatch.delenv(ADDRESS)
    with subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as asker:
        assert asker.stdout is not None
        process = int(asker.stdout.readline())
        assert Path(f"/proc/{process}").exists()
        asker.kill()
    assert gone(process)
    assert server.alive


@pytest.mark.usefixtures("server")
def test_pipes_are_written_to_and_read_from():
    with tempfile.TemporaryFile() as errors:
        one = Piped("asked", errors=errors, environment=os.environ)
        one.stdin.write(b"tell")
        one.stdin.close()
        assert b"asked" in one.stdout.read()
        assert one.wait() == 0
        errors.seek(0)
        assert errors.read() == b"aside\n"


def test_a_long_path_of_temporary_files_is_no_obstacle(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    server = Server()
    assert Path(server.address).exists() and Path(server.address).parent.stat().st_mode & 0o777 == 0o700
    server.close()


def test_a_server_that_ended_is_replaced(monkeypatch):
    monkeypatch.delenv(ADDRESS)
    first = forks._server()
    assert forks._server() == first
    forks._own_server().close()
    second = forks._server()
    assert second != first and Path(second).exists()
    forks._own_server().close()
    forks._own_server.cache_clear()
    assert not Path(second).exists()
