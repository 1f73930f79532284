"""Loading the C kernels: which build fits this processor, and what to do where there is none. It needs no torch.

`CLICKSMITH_NATIVE=0` forces the torch operations; `CLICKSMITH_NATIVE=x86-64-v2` (or -v3, -v4, -v4-bf16) forces a level.
"""

import ctypes
import importlib.util
import os
import platform
import warnings
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
VERSION = 11

# name -> (result, arguments); p pointer, i int64, n int, f float, u uint64
_SIGNATURES = {
    "cs_version": ("i", ""),
    "cs_lookup": ("n", "ppppiiiiiinn"),
    "cs_number": ("", "pppiin"),
    "cs_merge": ("i", "ppppiiiinn"),
    "cs_mixed_rows": ("n", "pppppiin"),
    "cs_mixed_gather": ("", "pppppinn"),
    "cs_mixed_split": ("n", "ppppppin"),
    "cs_add": ("", "pppiin"),
    "cs_square_sum": ("d", "ppiin"),
    "cs_adam_catch_up": ("", "pppppiiidppin"),
    "cs_adam_rows": ("", "pppppppiiifddffffppin"),
    "cs_adam_dense": ("", "ppppifddffffn"),
    "cs_adagrad_rows": ("", "pppppiiffffn"),
    "cs_sgd_rows": ("", "ppppiifffn"),
    "cs_scale_forward": ("", "pppppiiinn"),
    "cs_scale_backward": ("n", "pppiiiinn"),
    "cs_norm_forward": ("n", "ppiipppppffppfunn"),
    "cs_norm_backward": ("n", "ppppiipppppfnn"),
    "cs_drop": ("", "pifunn"),
    "cs_relu_backward": ("n", "ppppiifnn"),
    "cs_attention_forward": ("", "pppppppiiiiiiffufnnn"),
    "cs_attention_backward": ("n", "ppppppppppiiiiiiffufnnn"),
    "cs_cross_forward": ("", "ppppiinn"),
    "cs_cross_backward": ("n", "ppppppiinn"),
    "cs_dice": ("", "ppppppiinn"),
    "cs_dice_moments": ("i", "ppppiinn"),
    "cs_dice_backward": ("n", "ppppppppiiinn"),
    "cs_product_panel": ("i", ""),
    "cs_product": ("n", "ppppiiinn"),
    "cs_weight_gradient": ("n", "pppiiinn"),
    "cs_powers": ("n", "pppiiippnn"),
    "cs_powers_forward": ("n", "pppiiippppffppnn"),
    "cs_powers_backward": ("n", "pppppiiipppppnn"),
    "cs_small_products": ("", "pppiiiiiiiiiiiinn"),
}
_TYPES = {
    "p": ctypes.c_void_p,
    "i": ctypes.c_int64,
    "n": ctypes.c_int,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
    "u": ctypes.c_uint64,
    "": None,
}


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernels for this processor, or None (said once) if they are absent, unfit or switched off."""
    wish = os.environ.get("CLICKSMITH_NATIVE", "")
    if wish == "0":
        return None
    levels = [wish] if wish not in ("", "1") else _levels()
    reason, remedy = _absent(wish, levels)
    for level in levels:
        path = FOLDER / f"kernels.{level}.so"
        if not path.exists():
            continue
        try:
            return _load(path)
        except (OSError, AttributeError, ValueError) as error:
            reason = str(error)
    warnings.warn(
        f"clicksmith's compiled kernels are not in use ({reason}); training runs on torch operations, which are "
        f"slower. {remedy}",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _absent(wish: str, levels: list[str]) -> tuple[str, str]:
    """Return why none of the levels is there, and what to do."""
    built = [path.name.split(".")[1] for path in sorted(FOLDER.glob("kernels.*.so"))]
    names = ", ".join(built)
    if built and wish in levels and wish not in built:
        return f"CLICKSMITH_NATIVE is '{wish}'", f"Set it to one of {names}, to 0 for none, or leave it unset."
    if built and not levels:
        return f"the processor is not known to run {names}", f"CLICKSMITH_NATIVE={built[0]} uses them all the same."
    return "they were not built", "With a C compiler, `python -m clicksmith.kernels.build` makes them."


def level() -> str:
    """Return the instruction level in use, or 'torch' for the fall-back."""
    kernels = library()
    return "torch" if kernels is None else Path(str(kernels._name)).name.split(".")[1]


def _load(path: Path) -> ctypes.CDLL:
    _share_openmp()
    kernels = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(kernels, name)
        function.restype = _TYPES[result]
        function.argtypes = [_TYPES[a] for a in arguments]
    if kernels.cs_version() != VERSION:
        raise ValueError(f"'{path.name}' is of another version")
    return kernels


def _share_openmp() -> None:
    """Load torch's own OpenMP first, so that one copy serves both and none need be installed."""
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return
    for path in sorted((Path(torch.origin).parent / "lib").glob("libgomp*.so*")):
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return


def _levels() -> list[str]:
    """Return the levels this processor can run, strongest first."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["generic"]
    found = [name for name, needs in _NEEDS.items() if needs <= flags()]
    return found[::-1]


_NEEDS = {
    "x86-64-v2": {"ssse3", "sse4_1", "sse4_2", "popcnt", "cx16"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "sse4_2"},
    "x86-64-v4": {"avx2", "bmi2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
_NEEDS["x86-64-v4-bf16"] = _NEEDS["x86-64-v4"] | {"avx512_bf16"}


@cache
def flags() -> frozenset[str]:
    """Return what the processor says it can do, in Linux' words; empty where it is not told."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def tune_allocator() -> bool:
    """Keep freed memory for the next step instead of giving it back to the system; return whether it worked.

    glibc maps and unmaps every large tensor anew each step otherwise. The trainer calls this once, at its start; it
    holds for the whole process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mmap_threshold, trim_threshold, top_pad = -3, -1, -2
    mapped = mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20)  # older ones take no more than 32 MB
    others = [mallopt(trim_threshold, 2**31 - 1), mallopt(top_pad, 1 << 28)]
    return mapped == 1 and others == [1, 1]
