"""Where and with what a model was made: versions, processor, seed, settings, data checksums."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from clicksmith.threads import cores

PACKAGES = ("clicksmith", "torch", "numpy", "polars", "safetensors", "msgspec")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A record for people and for `doctor`; nothing is decided by it."""

    python: str
    platform: str
    processor: str
    packages: dict[str, str]
    seed: int = 0
    settings: dict[str, Any] = {}
    data: dict[str, str] = {}
    """Content checksum by split."""


def environment(
    *, seed: int = 0, settings: dict[str, Any] | None = None, data: dict[str, str] | None = None
) -> Environment:
    """Describe this machine and installation."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=processor(),
        packages={name: package_version(name) for name in PACKAGES},
        seed=seed,
        settings=settings or {},
        data=data or {},
    )


def package_version(name: str) -> str:
    """Return the installed version of a package, or 'not installed'."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """Return the processor's name and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return f"{name}, {cores()} cores"
