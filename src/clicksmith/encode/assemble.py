"""Putting together the rows of the log and of the side tables it refers to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.encode.arrays import Arrays
from clicksmith.encode.layout import Layout
from clicksmith.encode.rows import EncodedRows


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which columns of the layout's `ids` and `numeric` a table has, in its own order."""

    ids: tuple[int, ...] = ()
    numeric: tuple[int, ...] = ()


def assemble(layout: Layout, log: Arrays, share: Share, sides: Mapping[str, tuple[Share, Arrays]]) -> EncodedRows:
    """Return complete rows. Without side tables every array is the one given, not a copy.

    A side table's row 0 stands for keys that it does not have. Histories are those of the users met, each once, if
    they all come from one side table.
    """
    ids, numeric = log["ids"], log["numeric"]
    if sides:
        n = len(ids)
        ids, numeric = np.empty((n, len(layout.ids)), np.int32), np.empty((n, len(layout.numeric)), np.float32)
        ids[:, list(share.ids)], numeric[:, list(share.numeric)] = log["ids"], log["numeric"]
    bags, vectors, histories = _named(log, "bag/"), _named(log, "vector/"), _named(log, "history/")
    owner: NDArray[np.int32] | None = None
    with_histories = [name for name, (_, arrays) in sides.items() if _named(arrays, "history/")]
    for name, (part, arrays) in sides.items():
        rows = log[f"side/{name}"]
        ids[:, list(part.ids)] = arrays["ids"][rows]
        numeric[:, list(part.numeric)] = arrays["numeric"][rows]
        bags |= {key: array[rows] for key, array in _named(arrays, "bag/").items()}
        vectors |= {key: array[rows] for key, array in _named(arrays, "vector/").items()}
        if with_histories == [name] and not histories:
            met, where = np.unique(rows, return_inverse=True)
            owner = where.astype(np.int32).reshape(-1)
            histories = {key: array[met] for key, array in _named(arrays, "history/").items()}
        else:
            histories |= {key: array[rows] for key, array in _named(arrays, "history/").items()}
    return EncodedRows(
        ids=ids,
        numeric=numeric,
        bags=bags,
        vectors=vectors,
        histories=histories,
        owner=owner,
        domain=log.get("domain"),
        labels=log.get("labels"),
        weight=log.get("weight"),
        time=log.get("time"),
        group=log.get("group"),
    )


def _named(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
