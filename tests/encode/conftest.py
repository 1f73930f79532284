"""Every test of this folder runs with the compiled kernels and without them where it asks for `kernels`."""

import pytest

from clicksmith.encode import chunk, delimited, dictionary, few, fitted, hashing, native, numbers, source

MODULES = (native, dictionary, hashing, numbers, fitted, few, source, delimited)


@pytest.fixture(params=["compiled", "plain"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        if native.LIBRARY is None:
            pytest.skip("the kernels are not compiled on this machine")
    else:
        for module in MODULES:
            monkeypatch.setattr(module, "LIBRARY", None)
    assert chunk is not None
    return request.param
