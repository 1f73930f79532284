"""Getting a zip: resumed where it stopped, checked, unpacked beside and renamed."""

from __future__ import annotations

import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from clicksmith.errors import DataError, StorageError
from clicksmith.files import locked, storage_error

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes in all (None if the server does not say)."""
_PIECE = 1 << 18


def download(url: str, to: Path, *, progress: Progress | None = None, timeout: float = 30.0) -> Path:
    """Fetch `url` to the file `to`, going on from `to.part` if there is one.

    Raises:
        StorageError: the network or the disk fails; what is here stays, and the next call goes on from it.
        DataError: the server gives fewer bytes than it announced.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"'{url}' is no web address; it must begin with https://.")
    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            resumed = answer.status == 206
            announced = answer.headers.get("Content-Length")
            total = None if announced is None else int(announced) + (have if resumed else 0)
            _receive(answer, part, have if resumed else 0, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            part.replace(to)
            return to
        raise StorageError(f"the server answered {error.code} ({error.reason}) for {url}.") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise StorageError(f"no connection to {url} ({getattr(error, 'reason', error)}).") from error
    except OSError as error:
        raise storage_error(error, part) from error
    size = part.stat().st_size
    if total is not None and size != total:
        raise DataError(f"{url} ended after {size:,} of {total:,} bytes; run again to go on from there.")
    part.replace(to)
    return to


def _receive(answer: IO[bytes], part: Path, have: int, total: int | None, progress: Progress | None) -> None:
    with part.open("ab" if have else "wb") as file:
        while piece := answer.read(_PIECE):
            file.write(piece)
            have += len(piece)
            if progress is not None:
                progress(have, total)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a zip into `folder`, beside other files; nothing appears before all is unpacked, or elsewhere."""
    if not archive.exists():
        raise StorageError(f"there is no file '{archive}'; download it first.")
    try:
        with zipfile.ZipFile(archive) as packed, locked(folder.parent), TemporaryDirectory(dir=folder.parent) as beside:
            for member in packed.infolist():
                place = PurePosixPath(member.filename)
                if place.is_absolute() or ".." in place.parts or "\\" in member.filename:
                    raise DataError(
                        f"'{archive}' holds '{member.filename}', which lies outside its folder; it is not unpacked."
                    )
                packed.extract(member, beside)
            for path in sorted(Path(beside).rglob("*")):
                to = folder / path.relative_to(beside)
                if path.is_dir():
                    to.mkdir(parents=True, exist_ok=True)
                else:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(to)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: encrypted, a new method
        raise DataError(f"'{archive}' is no complete zip ({error}); delete it and load again.") from error
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder
