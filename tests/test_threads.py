"""Threads that fit the machine: quotas of control groups as they are written, and other programs that compute."""

import os
import subprocess
import sys

import pytest

from clicksmith.threads import LOAD, cores, others_compute, quota_of_cores

ASK = """
import json, os
from clicksmith import threads
threads.quota_of_cores = lambda: {quota}
threads.cores = lambda: 8
threads.others_compute = lambda: {others}
{before}
threads.fit_threads()
print(json.dumps([os.environ.get("OMP_NUM_THREADS"), os.environ.get("GOMP_SPINCOUNT")]))
"""


@pytest.mark.parametrize(
    ("mine", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),  # a container of version 2 sees its group as the root
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        (
            "5:memory:/m\n1:cpu,cpuacct:/docker/x\n0::/\n",  # version 1; the path is the host's
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("1:cpu:/\n", {"cpu.max": "100000 100000\n"}, None),  # of another hierarchy
        ("", {}, None),
    ],
)
def test_the_smallest_quota_of_the_groups_above(mine, files, cores, tmp_path):
    (tmp_path / "mine").write_text(mine)
    for name, text in files.items():
        place = tmp_path / "root" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    assert quota_of_cores(tmp_path / "mine", tmp_path / "root") == cores


def test_no_quota_where_the_system_has_no_groups(tmp_path):
    assert quota_of_cores(tmp_path / "no", tmp_path / "none") is None


@pytest.mark.parametrize(("text", "busy"), [("0.00 0.00 0.00 1/90 7\n", False), ("1.00 0.5 0.1 3/90 7\n", True)])
def test_another_running_program_is_seen(text, busy, tmp_path):
    (tmp_path / "load").write_text(text)
    assert others_compute(tmp_path / "load") is busy


def test_a_system_that_does_not_say_has_none(tmp_path):
    assert not others_compute(tmp_path / "load")


def test_a_busy_process_is_seen_by_the_real_file():
    if not LOAD.exists():
        pytest.skip("no /proc/loadavg")
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        try:
            assert any(others_compute() for _ in range(50))
        finally:
            busy.kill()


@pytest.mark.parametrize(
    ("quota", "others", "before", "after"),
    [
        (None, False, "", [None, None]),
        (2.5, False, "", ["2", None]),
        (0.5, True, "", ["1", "1000"]),
        (8.0, False, "", [None, None]),
        (2.0, True, "os.environ.update(OMP_NUM_THREADS='6', GOMP_SPINCOUNT='5')", ["6", "5"]),
        (None, True, "os.environ['OMP_WAIT_POLICY'] = 'active'", [None, None]),
        (2.0, True, "import torch", [None, None]),
    ],
)
def test_what_is_set_before_torch_is_loaded(quota, others, before, after):
    code = ASK.format(quota=quota, others=others, before=before)
    ours = ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == str(after).replace("None", "null").replace("'", '"')


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_cores_are_those_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
