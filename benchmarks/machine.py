"""What a result was measured on."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return processor, cores, load and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages: dict[str, str] = {}
    for name in ("clicksmith", "torch", "numpy", "polars", "fuxictr"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": packages,
    }


def command() -> str:
    """Return the command that runs now, folders left out of its paths."""
    words = ["benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]
    return "python " + " ".join([words[0], *(Path(word).name if "/" in word else word for word in words[1:])])
