"""Builds the C kernels into the wheel; everything else is in pyproject.toml."""

import importlib.util
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

KERNELS = Path(__file__).parent / "src" / "clicksmith" / "kernels"


class BuildWithKernels(build_py):
    """Copy the sources, then compile the kernels beside them; without a compiler the package works on torch alone."""

    def run(self) -> None:
        """Copy, then compile."""
        super().run()
        spec = importlib.util.spec_from_file_location("clicksmith_kernels_build", KERNELS / "build.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build(KERNELS if self.editable_mode else Path(self.build_lib) / "clicksmith" / "kernels")


class AnyPythonWheel(bdist_wheel):
    """The kernels depend on the platform, but not on the version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Name any Python 3 on this platform."""
        return "py3", "none", super().get_tag()[2]


class WithBinaries(Distribution):
    """Tell setuptools that the wheel belongs to one platform."""

    def has_ext_modules(self) -> bool:
        """Say that there are binaries."""
        return True


setup(cmdclass={"build_py": BuildWithKernels, "bdist_wheel": AnyPythonWheel}, distclass=WithBinaries)
