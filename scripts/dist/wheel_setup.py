"""Becomes setup.py where a wheel is built: what pyproject.toml cannot tell setuptools.

The wheel holds a library for one kind of machine, and runs with any Python.
"""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

LIBRARY = Path("greenboost_py/lib/libgreenboost.so")

POLICY = "manylinux_2_28"
"""No symbol that glibc 2.28 does not have: `make wheel` has auditwheel check it, and shim/base/loader.h sees to it."""

MACHINES = {62: "x86_64", 183: "aarch64"}
"""By e_machine of the ELF header, at byte 18: what the library was compiled for, here or for elsewhere."""


class BinaryDistribution(Distribution):
    """One that is installed where libraries are."""

    def has_ext_modules(self) -> bool:
        """As if it had, though they are for no Python's."""
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for any Python on one platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """The Python, its binary interface, and the platform."""
        return "py3", "none", f"{POLICY}_{MACHINES[int.from_bytes(LIBRARY.read_bytes()[18:20], 'little')]}"


if __name__ == "__main__":
    setup(distclass=BinaryDistribution, cmdclass={"bdist_wheel": PlatformWheel})
