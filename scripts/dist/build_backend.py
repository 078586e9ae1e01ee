"""Builds wheels and sdists of greenboost, as PEP 517 asks for them: setuptools, with the shim built before it.

A wheel is built in a copy of what an sdist holds, so both give the same bytes, and nothing is written into the tree.
Editable installs are setuptools' own: they find the library that `make build` puts in build/.

Source: https://peps.python.org/pep-0517/, https://peps.python.org/pep-0660/
"""

import gzip
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import source_date
import sources
from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = source_date.ROOT
LIBRARY = Path("greenboost_py/lib/libgreenboost.so")
MAKES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""What a make that runs this tells its children."""

Settings = dict[str, Any] | None


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Builds the wheel for the machine that $CC compiles for. Returns its name."""
    target = Path(wheel_directory).resolve()
    with _copy() as tree:
        _build_library(tree)
        return str(build_meta.build_wheel(str(target), config_settings))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """Writes the wheel's metadata, without a build. Returns its folder's name."""
    target = Path(metadata_directory).resolve()
    with _copy():
        return str(build_meta.prepare_metadata_for_build_wheel(str(target), config_settings))


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Packs what the tree holds. Returns the archive's name."""
    target = Path(sdist_directory).resolve()
    time_s = source_date.source_date()
    with _copy() as tree, TemporaryDirectory() as scratch:
        metadata = build_meta.prepare_metadata_for_build_wheel(scratch)
        name = metadata.removesuffix(".dist-info")
        texts = {"PKG-INFO": Path(scratch, metadata, "METADATA").read_bytes(), source_date.FILE: f"{time_s}\n".encode()}
        # The name of a gzip file is in its bytes, and so is its time: neither is needed.
        with (target / f"{name}.tar.gz").open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            _pack(tree, f"{name}", texts, time_s, packed)
    return f"{name}.tar.gz"


@contextmanager
def _copy() -> Iterator[Path]:
    """Works in a copy of the tree, in which whatever is made does not depend on who makes it when."""
    os.environ["SOURCE_DATE_EPOCH"] = str(source_date.source_date())
    umask = os.umask(0o022)
    try:
        with sources.copy(ROOT) as tree, chdir(tree):
            yield tree
    finally:
        os.umask(umask)


def _build_library(tree: Path) -> None:
    """The shim, where the package's data is looked for.

    Without debug information, three quarters of its size; the symbol table stays, for backtraces and perf. No warning
    of a compiler that we do not know may stop the installation.
    """
    environment = {name: value for name, value in os.environ.items() if name not in MAKES}
    flags = f"CFLAGS=-g0 -ffile-prefix-map={tree}=."
    command = ["make", "--silent", f"--jobs={os.cpu_count() or 1}", "shim", "BUILD=build", "WERROR=", flags]
    try:
        subprocess.run(command, cwd=tree, env=environment, check=True)
    except FileNotFoundError:
        sys.exit(
            "greenboost: 'make' is missing, which builds its library (Debian, Ubuntu: apt-get install build-essential)"
        )
    except subprocess.CalledProcessError:
        sys.exit("greenboost: its library cannot be built; what is above says why")
    (tree / LIBRARY.parent).mkdir()
    (tree / "build" / LIBRARY.name).replace(tree / LIBRARY)
    (tree / "scripts/dist/wheel_setup.py").replace(tree / "setup.py")


def _pack(tree: Path, folder: str, texts: dict[str, bytes], time_s: int, target: gzip.GzipFile) -> None:
    """Writes the archive: nobody's files, of one time, in order."""
    for name, text in texts.items():
        (tree / name).write_bytes(text)
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted([*sources.files(tree), *map(Path, texts)]):
            entry = archive.gettarinfo(tree / path, f"{folder}/{path}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = time_s
            with (tree / path).open("rb") if entry.isreg() else BytesIO() as content:
                archive.addfile(entry, content)
