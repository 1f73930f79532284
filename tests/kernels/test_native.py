import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clicksmith.kernels import build, native

CHECK = """
import warnings
warnings.simplefilter("error")
from clicksmith.kernels import native
print(native.level())
"""


def level_in_a_new_process(wish: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"CLICKSMITH_NATIVE": wish}
    return subprocess.run([sys.executable, "-c", CHECK], env=env, capture_output=True, text=True, check=False)


def test_the_environment_forces_the_fall_back_without_a_word():
    done = level_in_a_new_process("0")
    assert (done.stdout.strip(), done.stderr) == ("torch", "")


def test_loading_the_kernels_imports_no_torch():
    code = "import sys; from clicksmith.kernels import native; native.library(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_missing_library_is_said_once_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.delenv("CLICKSMITH_NATIVE", raising=False)
    message = (
        r"clicksmith's compiled kernels are not in use \(they were not built\); training runs on torch operations, "
        r"which are slower\. With a C compiler, `python -m clicksmith\.kernels\.build` makes them\."
    )
    with pytest.warns(RuntimeWarning, match=message):
        assert native.library.__wrapped__() is None


def test_kernels_that_are_there_are_not_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for level in ("x86-64-v2", "x86-64-v3"):
        (tmp_path / f"kernels.{level}.so").touch()
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setenv("CLICKSMITH_NATIVE", "v3")
    message = (
        r"not in use \(CLICKSMITH_NATIVE is 'v3'\); .* Set it to one of x86-64-v2, x86-64-v3, to 0 for none, or leave "
        r"it unset\.$"
    )
    with pytest.warns(RuntimeWarning, match=message):
        assert native.library.__wrapped__() is None
    monkeypatch.delenv("CLICKSMITH_NATIVE")
    monkeypatch.setattr(native, "_levels", list)
    message = (
        r"\(the processor is not known to run x86-64-v2, x86-64-v3\); .* CLICKSMITH_NATIVE=x86-64-v2 uses them all the "
        r"same\.$"
    )
    with pytest.warns(RuntimeWarning, match=message):
        assert native.library.__wrapped__() is None


def test_a_library_that_cannot_be_loaded_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for level in build.levels():
        (tmp_path / f"kernels.{level}.so").write_bytes(b"not a library")
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    with pytest.warns(RuntimeWarning, match="compiled kernels are not in use"):
        assert native.library.__wrapped__() is None


def test_without_a_compiler_the_build_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert build.build(tmp_path) == []
    assert capsys.readouterr().out == (
        "clicksmith: no C compiler found; the kernels are not built and torch operations are used (slower).\n"
    )


@pytest.mark.skipif(native.library() is None, reason="the kernels are not built")
def test_every_level_this_processor_has_gives_the_same_rows():
    code = """
import torch
from clicksmith.kernels import native, ops
torch.manual_seed(0)
rows, grad = torch.randint(0, 50, (999,)), torch.randn(999, 17)
found, sums = ops.merge(rows, grad)
print(native.level(), float(sums[found >= 0].double().sum()), found.tolist()[:5])
"""
    results = []
    for level in native._levels():
        env = os.environ | {"CLICKSMITH_NATIVE": level}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        name, *rest = done.stdout.split()
        assert name == level
        results.append(rest)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(("most", "mapped"), [(2**31, 1 << 30), (32 << 20, 32 << 20), (0, None)])
def test_the_allocator_takes_what_it_can_of_what_is_asked(monkeypatch: pytest.MonkeyPatch, most: int, mapped: int):
    held: dict[int, int] = {}

    def mallopt(option: int, value: int) -> int:
        if option == -3 and value > most:
            return 0
        held[option] = value
        return 1

    monkeypatch.setattr(native.platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(native.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert native.tune_allocator() == (mapped is not None)
    assert held.pop(-3, None) == mapped
    assert held == {-1: 2**31 - 1, -2: 1 << 28}


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native.platform, "libc_ver", lambda: ("", ""))
    assert not native.tune_allocator()
