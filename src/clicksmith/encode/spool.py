"""Raw rows kept on disk between the two passes of a fit: written and read as plain files, never mapped, so that memory
stays flat however many rows there are."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.delimited import threads
from clicksmith.files import storage_error


class Spool:
    """Arrays of rows in a folder that is removed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._files: dict[str, BinaryIO] = {}
        self._pieces: list[dict[str, tuple[np.dtype[Any], tuple[int, ...]]]] = []
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, arrays: Arrays) -> None:
        """Write rows, while the caller goes on; at most one piece waits."""
        self._wait()
        self._pieces.append({name: (array.dtype, array.shape) for name, array in arrays.items()})
        self._last = self._pool.submit(self._write, arrays)

    def pieces(self) -> Iterator[Arrays]:
        """Yield the rows in the pieces they came in."""
        self._wait()
        for file in self._files.values():
            file.seek(0)
        for shapes in self._pieces:
            piece: Arrays = {}
            for name, (dtype, shape) in shapes.items():
                piece[name] = np.empty(shape, dtype)
                if piece[name].size:
                    self._files[name].readinto(piece[name].data.cast("B"))  # type: ignore[attr-defined]
            yield piece

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None

    def _write(self, arrays: Arrays) -> None:
        try:
            for name, array in arrays.items():
                if name not in self._files:
                    path = self._folder / f"{len(self._files):03d}.raw"
                    self._files[name] = path.open("w+b")
                if array.size:
                    self._files[name].write(np.ascontiguousarray(array).data.cast("B"))
            for file in self._files.values():
                file.flush()
        except OSError as error:
            raise storage_error(error, self._folder.parent) from error


def ahead(work: Callable[[Arrays], Arrays], pieces: Iterable[Arrays]) -> Iterator[Arrays]:
    """Yield work(piece) in order, computed a few pieces ahead."""
    with ThreadPoolExecutor(threads()) as pool:
        waiting: deque[Future[Arrays]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > threads():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
