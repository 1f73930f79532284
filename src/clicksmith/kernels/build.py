"""Compile the C kernels beside their sources: `python -m clicksmith.kernels.build`. Needs a C compiler, nothing else.

One library per instruction level, so that a wheel serves every machine; the level is chosen when it is loaded.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_X86 = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16")
LEVELS = {"x86_64": _X86, "AMD64": _X86}
MARCH = {"generic": (), "x86-64-v4-bf16": ("-march=x86-64-v4", "-mavx512bf16")}
FLAGS = "-std=gnu11 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fPIC -shared -fvisibility=hidden -w"


def levels(machine: str = "") -> tuple[str, ...]:
    """Return the instruction levels built for a machine, weakest first; ("generic",) where levels have no names."""
    return LEVELS.get(machine or platform.machine(), ("generic",))


def compiler() -> str | None:
    """Return the C compiler: `$CC`, else gcc, cc or clang; None if there is none."""
    for name in (os.environ.get("CC", ""), "gcc", "cc", "clang"):
        if name and shutil.which(shlex.split(name)[0]):
            return name
    return None


def build(target: Path = FOLDER) -> list[Path]:
    """Compile every .c file of this folder into one library per level in `target`; return what was written.

    Without a compiler, or where a level cannot be compiled, it says so and goes on: the torch operations remain.
    """
    cc = compiler()
    if cc is None:
        print("clicksmith: no C compiler found; the kernels are not built and torch operations are used (slower).")
        return []
    sources = sorted(str(path) for path in FOLDER.glob("*.c"))
    target.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda level: _compile(cc, level, sources, target), levels())
    written = [path for path in made if path]
    print(f"clicksmith: built {', '.join(path.name for path in written) or 'no kernels'} with {cc}.")
    return written


def _compile(cc: str, level: str, sources: list[str], target: Path) -> Path | None:
    out = target / f"kernels.{level}.so"
    beside = out.with_suffix(f".{os.getpid()}.tmp")
    march = MARCH.get(level, (f"-march={level}",))
    for threads in (["-fopenmp"], []):  # a compiler without OpenMP gives one-threaded kernels
        command = [*shlex.split(cc), *FLAGS.split(), *march, *threads, *sources, "-o", str(beside), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            beside.replace(out)
            return out
    print(f"clicksmith: {cc} could not compile for {level}: {done.stderr.strip()[-600:]}")
    return None


if __name__ == "__main__":
    build()
    sys.exit(0)
