"""Processes that begin at once: forked from one that has imported what they need.

Importing torch takes seconds, longer than many a trial trains. The first process that is asked for begins a server,
which imports the module asked for and forks; later ones are only forked. The server computes nothing itself, so no
process knows of another. One connection stands for one process: it carries the request and the standard streams, then
signals one way, the exit status the other. It closes when who asked has ended, and then the process is killed.

A process whose environment holds `CLICKSMITH_FORKS`, the path of a server's socket, asks that server.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from clicksmith.errors import UsageError

__all__ = ["ADDRESS", "Forked", "Piped", "Server", "start"]

ADDRESS = "CLICKSMITH_FORKS"
_STATUS, _LENGTH = struct.Struct("i"), struct.Struct("Q")
_FORKS = sys.platform == "linux"
"""Elsewhere a process that has imported torch cannot be relied on to be forked; each is begun anew."""
_PARENT_DIES = 1


class _Asked(msgspec.Struct, frozen=True):
    """What the server is asked for."""

    module: str
    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]


class Forked:
    """A process that a server began: what is needed to wait for it and to end it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._status: int | None = None
        self.pid = self._told()

    def wait(self) -> int:
        """Return its exit status; minus the signal's number if one ended it."""
        with self._lock:
            if self._status is None:
                self._status = self._told()
                self._connection.close()
            return self._status

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with contextlib.suppress(OSError):
            self._connection.send(bytes([number]))

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _told(self) -> int:
        """Return the number that the server says next; if it is gone, so is the process: killed."""
        said = b""
        with contextlib.suppress(ConnectionError):
            said = _exactly(self._connection, _STATUS.size)
        return _STATUS.unpack(said)[0] if len(said) == _STATUS.size else -signal.SIGKILL


class Piped(Forked):
    """A process whose standard input and output are pipes, `stdin` and `stdout`."""

    def __init__(self, module: str, *, errors: IO[bytes], environment: Mapping[str, str]) -> None:
        (asked, told), (heard, said) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(told, "wb"), os.fdopen(heard, "rb")
        try:
            super().__init__(_connect(module, (), (asked, said, errors.fileno()), environment))
        finally:
            os.close(asked)
            os.close(said)


def start(module: str, *arguments: str, streams: Sequence[int], environment: Mapping[str, str]) -> Forked:
    """Begin a process, in the present folder, that runs `main()` of a module of this package.

    Args:
        arguments: found in `sys.argv`, after the module's name.
        streams: descriptors of its standard input, output and error.
        environment: in full.
    """
    return Forked(_connect(module, arguments, streams, environment))


class Server:
    """A process that imports and forks, until it is closed or the one that made it ends.

    Args:
        modules: imported at once, and not when they are first asked for.
    """

    def __init__(self, *modules: str) -> None:
        # Only this user may enter the folder. A socket's path is short: at most 103 bytes on macOS.
        short = len(os.fsencode(tempfile.gettempdir())) < 72
        self._folder = tempfile.TemporaryDirectory(prefix="clicksmith-", dir=None if short else "/tmp")
        self.address = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clicksmith.forks", str(listening.fileno()), *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
                # Libraries read it when they are imported; a trial sets the number of its threads itself.
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and with it the processes that it began."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


@functools.cache
def _own_server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


def _server() -> str:
    """Return the address of the server to ask."""
    if named := os.environ.get(ADDRESS):
        return named
    if not _own_server().alive:  # the system ended it, for want of memory for example
        _own_server.cache_clear()
    return _own_server().address


def _connect(
    module: str, arguments: Sequence[str], streams: Sequence[int], environment: Mapping[str, str]
) -> socket.socket:
    asked = msgspec.json.encode(_Asked(module, tuple(arguments), str(Path.cwd()), dict(environment)))
    connection, address = socket.socket(socket.AF_UNIX), _server()
    try:
        connection.connect(address)
    except OSError as error:
        raise UsageError(
            f"nobody listens at '{address}' ({error.strerror}); unset {ADDRESS} if it names that."
        ) from error
    socket.send_fds(connection, [_LENGTH.pack(len(asked))], streams)
    connection.sendall(asked)
    return connection


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Read `size` bytes; fewer if the other end has closed."""
    read = b""
    while len(read) < size and (more := connection.recv(size - len(read))):
        read += more
    return read


class _Forking:
    """The server's side: what it listens to, and the process that each connection stands for."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening, self._connections = listening, dict[int, socket.socket]()
        self._ended, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())
        self._events = selectors.DefaultSelector()
        for one in (listening, self._ended, sys.stdin):
            self._events.register(one, selectors.EVENT_READ)

    def serve(self) -> _Asked | None:
        """Fork as asked; return in a forked process what it is for, in the server None when it is to end."""
        while True:
            for key, _ in self._events.select():
                if key.fileobj is sys.stdin:  # who made the server has ended
                    self._end()
                    return None
                if key.fileobj is self._ended:
                    self._ended.recv(4096)
                    self._reap()
                elif key.fileobj is self._listening:
                    if (asked := self._accept()) is not None:
                        return asked
                elif key.data in self._connections:
                    self._hear(key.data)

    def _accept(self) -> _Asked | None:
        connection = self._listening.accept()[0]
        length, streams, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
        try:
            size = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else 0
            if len(said := _exactly(connection, size)) < size or not said:
                connection.close()  # who asked ended while asking
                return None
            asked, server = msgspec.json.decode(said, type=_Asked), os.getpid()
            _imported(asked.module)
            if (process := _forked()) is None:
                connection.close()
                return None
            if process == 0:
                self._connections[0] = connection
                self._leave()
                _become(asked, streams, server)
                return asked
        finally:
            for stream in streams:
                os.close(stream)
        self._connections[process] = connection
        self._events.register(connection, selectors.EVENT_READ, process)
        with contextlib.suppress(OSError):
            connection.sendall(_STATUS.pack(process))
        return None

    def _hear(self, process: int) -> None:
        """Pass signals on; end the process when nobody is there any more."""
        with contextlib.suppress(ConnectionError):
            if said := self._connections[process].recv(16):
                for number in said:
                    os.kill(process, number)
                return
        os.kill(process, signal.SIGKILL)
        self._events.unregister(self._connections[process])

    def _reap(self) -> None:
        """Say how processes ended that did."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._connections.pop(found[0])
                with contextlib.suppress(KeyError):
                    self._events.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(_STATUS.pack(os.waitstatus_to_exitcode(found[1])))
                connection.close()

    def _end(self) -> None:
        signal.set_wakeup_fd(-1)
        for process in self._connections:
            os.kill(process, signal.SIGKILL)
        for process in self._connections:
            os.waitpid(process, 0)

    def _leave(self) -> None:
        """Let go of everything that is the server's, in a process that it has forked."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._events.close()
        for one in (self._listening, self._ended, self._wake, *self._connections.values()):
            one.close()


@functools.cache
def _imported(module: str) -> None:
    if not _FORKS:
        return
    with contextlib.suppress(Exception):  # the process imports it again, and says on its own stream what is wrong
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a collection in a process does not copy what it shares with the server


def _forked() -> int | None:
    """Return what `os.fork` does; None if there is no memory for one more process."""
    with warnings.catch_warnings(), contextlib.suppress(OSError):
        # Python warns of threads, which could hold a lock: those that polars starts when imported hold none of ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become(asked: _Asked, streams: Sequence[int], server: int) -> None:
    """Make a forked process what was asked for."""
    os.setsid()
    for stream, place in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, place)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)  # it died a moment ago
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.environment)
    if not _FORKS:
        os.execv(sys.executable, [sys.executable, "-m", asked.module, *asked.arguments])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = [asked.module, *asked.arguments]
    random.seed()


def main() -> int:
    """Serve the socket whose descriptor is the first argument, or be a process that was asked for."""
    status = 1
    # Registered before any other, so called last. What Python does next takes half a second and frees memory that the
    # system frees anyway.
    atexit.register(lambda: _end(status))
    listening, *modules = sys.argv[1:]
    for module in modules:
        _imported(module)
    asked = _Forking(socket.socket(fileno=int(listening))).serve()
    try:
        status = 0 if asked is None else importlib.import_module(asked.module).main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    return status


def _end(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    raise SystemExit(main())
