"""Encoded rows on disk, memory-mapped: a file per kind of column, row-major, so that a batch is one piece of it."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays, ArrayWriter, read_arrays, read_manifest
from clicksmith.encode.assemble import Share, assemble
from clicksmith.encode.layout import Layout
from clicksmith.encode.rows import EncodedRows
from clicksmith.errors import DataError
from clicksmith.identity import digest

KIND = "store"


class Store:
    """Rows of one split, encoded. `layout` says what they hold; `digest` changes with their content."""

    def __init__(
        self, layout: Layout, log: Arrays, share: Share, sides: Mapping[str, tuple[Share, Arrays]], digest: str
    ) -> None:
        self.layout, self.digest = layout, digest
        self._log, self._share, self._sides = log, share, sides

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._log["ids"].shape[0]

    def __len__(self) -> int:
        return self.rows

    def slice(self, start: int, stop: int) -> EncodedRows:
        """Return rows start <= row < stop: views of the files, copied only where a side table is joined."""
        start, stop, _ = slice(start, stop).indices(self.rows)
        piece = {name: array[start : max(start, stop)] for name, array in self._log.items()}
        return assemble(self.layout, piece, self._share, self._sides)

    def take(self, row_numbers: NDArray[Any]) -> EncodedRows:
        """Return copies of the rows with these numbers, in their order."""
        picked = {name: array[row_numbers] for name, array in self._log.items()}
        return assemble(self.layout, picked, self._share, self._sides)

    @property
    def targets(self) -> Arrays:
        """`labels`, `weight`, `time`, `group` and `domain` of all rows, those that there are; views of the files."""
        return {n: self._log[n] for n in ("labels", "weight", "time", "group", "domain") if n in self._log}

    def release(self) -> None:
        """Give the mapped pages back to the system; they are read again when they are needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for array in self._log.values():
                mapped = _mapping(array)
                if mapped is not None:
                    mapped.madvise(mmap.MADV_DONTNEED)

    @staticmethod
    def open(folder: str | Path, *, verify: bool = False) -> Store:
        """Open a folder that `Encoder.encode_to` wrote; `verify` reads it all and compares the checksums.

        Raises ArtifactError for a folder that is no store, is damaged, or is of a newer version.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, KIND)
        layout = msgspec.convert(manifest.note["layout"], Layout)
        share = msgspec.convert(manifest.note["share"], Share)
        shares: dict[str, Any] = manifest.note["sides"]
        log: Arrays = {}
        sides: dict[str, tuple[Share, Arrays]] = {
            name: (msgspec.convert(part, Share), {}) for name, part in shares.items()
        }
        for name, array in read_arrays(folder, manifest, verify=verify).items():
            kind, _, rest = name.partition(":")
            if kind == "log":
                log[rest] = array
            else:
                sides[kind.removeprefix("side ")][1][rest] = array
        return Store(layout, log, share, sides, digest(manifest))

    @staticmethod
    def of(rows: EncodedRows, layout: Layout) -> Store:
        """Return rows in memory as a store. Raises DataError if they do not have the layout's shape."""
        log: Arrays = {"ids": rows.ids, "numeric": rows.numeric}
        log |= {f"bag/{name}": array for name, array in rows.bags.items()}
        log |= {f"vector/{name}": array for name, array in rows.vectors.items()}
        targets = {"labels": rows.labels, "weight": rows.weight, "time": rows.time, "group": rows.group}
        log |= {name: array for name, array in (targets | {"domain": rows.domain}).items() if array is not None}
        share = Share(tuple(range(len(layout.ids))), tuple(range(len(layout.numeric))))
        if rows.ids.shape[1] != len(layout.ids) or rows.numeric.shape[1] != len(layout.numeric):
            raise DataError(
                f"rows with {rows.ids.shape[1]} id and {rows.numeric.shape[1]} numeric columns do not fit a layout "
                f"with {len(layout.ids)} and {len(layout.numeric)}. Give the layout they were encoded with."
            )
        histories = {f"history/{name}": array for name, array in rows.histories.items()}
        sides: dict[str, tuple[Share, Arrays]] = {}
        if rows.owner is None:
            log |= histories
        else:
            log["side/owner"] = rows.owner
            nothing = np.zeros((len(next(iter(histories.values()))), 0))
            sides["owner"] = (
                Share(),
                {"ids": nothing.astype(np.int32), "numeric": nothing.astype(np.float32)} | histories,
            )
        return Store(layout, log, share, sides, _digest_of(log, sides))


def _mapping(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the mapped file that an array views, or None if it is memory."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = cast("Any", owner).base
    return owner if isinstance(owner, mmap.mmap) else None


def _digest_of(log: Arrays, sides: Mapping[str, tuple[Share, Arrays]]) -> str:
    state = hashlib.sha256()
    for prefix, arrays in (("log", log), *((name, part[1]) for name, part in sides.items())):
        for name in sorted(arrays):
            state.update(f"{prefix}:{name}:{arrays[name].dtype.str}:{arrays[name].shape}".encode())
            state.update(np.ascontiguousarray(arrays[name]).tobytes())
    return state.hexdigest()


def finish_store(
    writer: ArrayWriter, layout: Layout, share: Share, sides: Mapping[str, tuple[Share, Arrays]], encoder: str
) -> None:
    """Write the side tables and the manifest beside the rows that `writer` holds."""
    for name, (_, arrays) in sides.items():
        writer.append({f"side {name}:{key}": array for key, array in arrays.items()})
    note = {
        "layout": msgspec.to_builtins(layout),
        "share": msgspec.to_builtins(share),
        "sides": {name: msgspec.to_builtins(part) for name, (part, _) in sides.items()},
        "encoder": encoder,
    }
    writer.finish(KIND, note)
