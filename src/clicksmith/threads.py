"""Threads that fit what the machine lends: a container's share of processor time, and cores that others use.

torch starts as many threads as there are cores. In a container with less time than cores, they use it up waiting for
each other. Beside another busy program they may share a core, and each then waits out the other's time slices, tens of
times a step (benchmarks/threads.py measures both).
"""

import os
import sys
import time
from pathlib import Path

MINE = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")
LOAD = Path("/proc/loadavg")
LOOKS = 3
SHORT_WAIT = "1000"
"""Turns of a waiting thread before it gives its core away, some 50 microseconds; libgomp's own is 300 times that."""


def fit_threads() -> None:
    """Set what OpenMP reads when torch is loaded, unless the user did; does nothing once torch is loaded.

    Sets OMP_NUM_THREADS under a quota of fewer cores than there are, and GOMP_SPINCOUNT where others are computing. The
    latter changes no result.
    """
    if "torch" in sys.modules:
        return
    quota = quota_of_cores()
    if quota is not None and quota < cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, int(quota))))
    if "OMP_WAIT_POLICY" not in os.environ and others_compute():
        os.environ.setdefault("GOMP_SPINCOUNT", SHORT_WAIT)


def cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota_of_cores(mine: Path = MINE, root: Path = ROOT) -> float | None:
    """Return the processor time a second that control groups leave this process, in cores; None if it is not limited.

    The smallest limit of the process's group and those above it, of version 1 or 2 of control groups. A container may
    see its own group as the root, so the root is read as well.
    """
    limits = []
    for line in _lines(mine):
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            folder = root / controllers
            inner = folder / group.strip("/")
            for place in (inner, *inner.parents):
                limits.append(_limit(place))
                if place == folder:
                    break
    return min((limit for limit in limits if limit is not None), default=None)


def others_compute(load: Path = LOAD) -> bool:
    """Return whether other programs hold a core: whether each of a few looks, 10 ms apart, finds one running."""
    for look in range(LOOKS):
        if look:
            time.sleep(0.01)
        if not any(int(line.split()[3].split("/")[0]) > 1 for line in _lines(load)):
            return False
    return True


def _limit(folder: Path) -> float | None:
    """Return a group's limit in cores, if it has one."""
    for line in _lines(folder / "cpu.max"):
        quota, period = line.split()
        return None if quota == "max" else int(quota) / int(period)
    quotas, periods = _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us")
    return int(quotas[0]) / int(periods[0]) if quotas and periods and int(quotas[0]) > 0 else None


def _lines(path: Path) -> list[str]:
    """Return the lines of a small file of the system; none if there is no such file."""
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
