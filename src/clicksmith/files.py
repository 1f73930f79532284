"""Writing that is never half done: beside first, then renamed; and one writer per folder."""

import ctypes
import errno
import fcntl
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from clicksmith.errors import StorageError

MOMENT = 1.0
"""Seconds of waiting for another process before it is said."""


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` if the block succeeds, delete it if not.

    Raises StorageError when the disk is full, or a folder, a pipe or a device is in the way.
    """
    if path.exists() and not path.is_file():
        what, cure = ("a folder", "remove it or choose") if path.is_dir() else ("a pipe or a device", "choose")
        raise StorageError(f"'{path}' is {what} where a file is to be written; {cure} another name.")
    beside = _beside(path, "tmp")
    try:
        _clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _flush(beside)
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        raise storage_error(error, path) from error
    finally:
        with suppress(NotADirectoryError):
            beside.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, to be read by whoever may read a new file; the library itself writes for the owner alone."""
    from safetensors.torch import save_file

    save_file(dict(tensors), path, metadata=metadata)
    mask = os.umask(0o077)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


@contextmanager
def atomic_folder(path: Path, *, durable: bool = False) -> Generator[Path]:
    """Yield a temporary folder beside `path`; it becomes `path` only if the block succeeds.

    An existing `path` is replaced as a whole; a killed process leaves the old content or the new. `durable` also waits
    for the disk, for what cannot be made again, so that a power cut leaves one of them too.
    """
    _refuse_file(path)
    beside, old = _beside(path, "tmp"), _beside(path, "old.tmp")
    try:
        recover(path)
        _clear(path)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        if durable:
            for written in (*beside.rglob("*"), beside):
                _flush(written)
        if not (path.exists() and _exchange(beside, path)):
            if path.exists():
                path.replace(old)
            try:
                beside.replace(path)
            except OSError:
                recover(path)
                raise
        if durable:
            _flush(path.parent)
    except (OSError, SafetensorError) as error:
        raise storage_error(error, path) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def recover(path: Path) -> None:
    """Put back the folder `path` if a process of this machine was killed while it replaced it.

    That can happen only where the system has no way to swap two folders in one step.
    """
    if path.exists() or not path.parent.is_dir():
        return
    own, end = _beside(path, "old.tmp"), ".old.tmp"
    left = [p for p in _left(path) if p.name.endswith(end)]
    left += [own] if own.exists() else []
    if left:
        max(left, key=lambda p: p.stat().st_mtime_ns).replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file atomically."""
    with atomic_file(path) as beside:
        beside.write_bytes(content)


@contextmanager
def locked(folder: Path, *, wait: bool = False, noted: Callable[[str], None] | None = None) -> Generator[None]:
    """Hold `folder` for one writer; a second process gets a StorageError instead of a mixture of two runs, or waits.

    `noted` is told what is waited for, if that takes more than a moment.
    """
    with _opened_lock(folder) as lock:
        ends = time.monotonic() + MOMENT
        while not _hold(lock, folder):
            if not wait:
                raise StorageError(
                    f"'{folder}' is being written by another run; wait for it to end or choose another output folder."
                )
            if time.monotonic() > ends:
                if noted is not None:
                    noted(f"waiting for '{folder}', which {_holder(lock)} is writing")
                _hold(lock, folder, fcntl.LOCK_EX)
                break
            time.sleep(MOMENT / 50)
        with suppress(OSError):  # a full disk: whose lock it is stays unsaid
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
        yield


def _opened_lock(folder: Path) -> FileIO:
    _refuse_file(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / ".lock").open("ab+", buffering=0)
    except OSError as error:
        raise storage_error(error, folder) from error


def _refuse_file(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise StorageError(f"'{path}' is a file where a folder is to be written; remove it or choose another name.")


def check_folder(path: Path) -> None:
    """Raise StorageError if there can be no folder `path`: before work whose result is to be written there."""
    there = next(place for place in (path, *path.parents) if place.exists())
    _refuse_file(there)
    if not os.access(there, os.W_OK):
        raise storage_error(PermissionError(errno.EACCES, ""), path)


def storage_error(error: OSError | SafetensorError, path: Path) -> StorageError:
    """Return the sentence for an operating-system error at `path`; safetensors and polars tell its number in words."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, SafetensorError) or error.errno is None:
        told = re.search(r"\(os error (\d+)\)", str(error))
        error = OSError(str(error)) if told is None else OSError(int(told[1]), os.strerror(int(told[1])))
    if error.errno == errno.ENOSPC:
        return StorageError(
            f"no space left on the disk while writing '{path}'; nothing was changed. Free some space and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"no permission to write '{path}'; choose another folder.")
    cure = (
        "; choose another folder"
        if error.errno in (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)
        else ""
    )
    return StorageError(f"could not write '{path}': {error.strerror or error}{cure}.")


def _hold(lock: FileIO, folder: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Return whether the lock is held now; False if another process holds it."""
    try:
        fcntl.flock(lock, how)
    except BlockingIOError:
        return False
    except OSError as error:  # a disk without locks, for example
        raise storage_error(error, folder) from error
    return True


def _holder(lock: FileIO) -> str:
    """Return who holds a lock, as it wrote there itself."""
    lock.seek(0)
    number = lock.read().decode()
    return f"process {number}" if number else "another process"


def _exchange(one: Path, two: Path) -> bool:
    """Swap two folders in one step where the system can (Linux), so that a kill in between loses neither."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return swap is not None and swap(-100, os.fsencode(one.absolute()), -100, os.fsencode(two.absolute()), 2) == 0


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.{kind}")


def _clear(path: Path) -> None:
    """Remove what killed processes left beside `path`."""
    for left in _left(path):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _left(path: Path) -> list[Path]:
    """Return what killed processes of this machine left beside `path`; other machines may share the disk."""
    start, found = f".{path.name}.{_host()}-", list[Path]()
    for left in path.parent.iterdir() if path.parent.is_dir() else ():
        if left.name.startswith(start) and left.name.endswith(".tmp"):
            process = left.name.removeprefix(start).partition(".")[0]
            if process.isdigit() and not _alive(int(process)):
                found.append(left)
    return found


def names_folder(name: str) -> bool:
    """Return whether a name that a user gave can be that of a folder, beside others and not hidden."""
    return bool(name) and name == Path(name).name and not name.startswith(".")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _host() -> str:
    return platform.node().partition(".")[0] or "here"


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if not path.exists():
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
