"""One torch thread per test process; real data when it is there; marks of references that cannot lie; warm commands."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import warm
from clicksmith.forks import ADDRESS, Server
from clicksmith.kernels import native
from references import building

torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real data sets are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """Begin the process that commands, scripts and trials of the tests are forked from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(warm.__file__).parent), prepend=os.pathsep)
        server = Server(*warm.MODULES)
    os.environ[ADDRESS] = server.address
    yield
    del os.environ[ADDRESS]
    server.close()


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Give every test the same random draws, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(params=["kernels", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the kernels, and with the torch operations instead."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("the kernels are not built")
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function):
    """Fail a test that passes and is marked as the reference of a part that it never built."""
    with building(tuple(kind for mark in pyfuncitem.iter_markers("reference") for kind in mark.args)):
        return (yield)
