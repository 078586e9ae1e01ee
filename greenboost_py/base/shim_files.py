"""Where the shim's files are: beside the package when it is installed, in the tree's own folders in a checkout."""

import os
from pathlib import Path

from greenboost_py.base.errors import InstallError, LibraryError

LIBRARY_VARIABLE = "GREENBOOST_LIBRARY"
"""The environment variable that names another library than the one that came with this command."""

LIBRARY_NAME = "libgreenboost.so"


def package_dir() -> Path:
    """The folder of `greenboost_py` itself."""
    return Path(__file__).resolve().parent.parent


def shim_file(name: str) -> Path:
    """Finds one of the shim's own lists or headers.

    Args:
        name: relative to shim/, for example `options.def`.

    Raises:
        InstallError: it is in neither place.
    """
    package = package_dir()
    for folder in (package / "_shim", package.parent / "shim"):
        if (folder / name).is_file():
            return folder / name
    raise InstallError(f"{package / '_shim' / name} is missing: install greenboost again")


def library(environment: dict[str, str]) -> Path:
    """Finds the shim's library: the one that $GREENBOOST_LIBRARY names, else the installed one, else the checkout's.

    Args:
        environment: where the variable is looked up; empty counts as unset.

    Returns:
        An absolute path to a file.

    Raises:
        LibraryError: there is none.
    """
    named = environment.get(LIBRARY_VARIABLE)
    if named:
        path = Path(os.path.abspath(named))
        if not path.is_file():
            raise LibraryError(f"{LIBRARY_VARIABLE}={named}: there is no such file")
        return path
    package = package_dir()
    for path in (package / "lib" / LIBRARY_NAME, package.parent / "build" / LIBRARY_NAME):
        if path.is_file():
            return path
    if not (package.parent / "Makefile").is_file():
        raise LibraryError(f"{package / 'lib' / LIBRARY_NAME} is missing: install greenboost again")
    raise LibraryError(f"{package.parent / 'build' / LIBRARY_NAME} is not built yet: run 'make build'")
