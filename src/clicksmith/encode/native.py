"""The functions of kernels/encode.c with numpy arrays; `LIBRARY` is None where there is no compiled library."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_uint8, c_void_p
from typing import Any

from numpy.typing import NDArray

from clicksmith.kernels.native import library

_P = c_void_p
_I = c_int64
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "enc_new": (_P, []),
    "enc_free": (None, [_P]),
    "enc_size": (_I, [_P]),
    "enc_bytes": (_I, [_P]),
    "enc_codes": (_I, [_P, _P, _P, _P, _I, _I, _P, _I, c_int32]),
    "enc_rows": (None, [_P, _P, _I, _I, _P, _P, _P]),
    "enc_load": (_I, [_P, _P, _P, _P, _I]),
    "enc_counts": (None, [_P, _P]),
    "enc_weigh": (None, [_P, _P, _P, _I]),
    "enc_pick_bytes": (_I, [_P, _P, _I]),
    "enc_pick": (None, [_P, _P, _I, _P, _P]),
    "enc_rank": (_I, [_P, _I, _I, _P]),
    "enc_hash": (None, [_P, _P, _P, _I, _I, _P]),
    "enc_remap": (None, [_P, _I, _I, _I, _I, _P, _P, _P]),
    "enc_sum": (None, [_P, _I, _I, _P, _P, _P, _P]),
    "enc_whole": (_I, [_P, _I, c_uint8]),
    "enc_foreign": (c_int32, [_P, _I]),
    "enc_split": (None, [_P, _I, c_uint8, _I, _P, _P, _I, _P, _P, _P, _P, _P]),
    "enc_lists": (None, [_P, _P, _P, _I, _I, _P, _I, _I, c_int32, c_int32, _P, _P, _P]),
}


def _declared() -> ctypes.CDLL | None:
    loaded = library()
    if loaded is None or not hasattr(loaded, "enc_new"):
        return None
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


LIBRARY = _declared()
"""The compiled library, or None."""


def at(array: NDArray[Any], item: int = 0) -> int:
    """Return the address of the item-th element (counted in memory order) of an array."""
    return array.ctypes.data + item * array.itemsize
