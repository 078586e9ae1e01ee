"""Builds packages of a tree, as users and distributions do, and installs them where nothing else is."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sources
from harness import ROOT

VERSION_LINE = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
UNSET = ("SOURCE_DATE_EPOCH", "MAKEFLAGS", "MAKELEVEL", "CFLAGS", "PYTHONPATH")


@dataclass(frozen=True)
class Packages:
    """What was built."""

    wheel: Path
    sdist: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment of our own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    @property
    def greenboost(self) -> Path:
        return self.folder / "bin/greenboost"

    @property
    def site(self) -> Path:
        """Where its packages are."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @property
    def library(self) -> Path:
        return self.site / "greenboost_py/lib/libgreenboost.so"

    def pip(self, *arguments: str | Path) -> str:
        """Runs its pip, which must succeed."""
        return run([self.python, "-m", "pip", "--disable-pip-version-check", *arguments])


def version(tree: Path = ROOT) -> str:
    """What the one place says."""
    found = VERSION_LINE.search((tree / "greenboost_py/__init__.py").read_text())
    assert found is not None
    return found[1]


def clean_environment(**settings: str) -> dict[str, str]:
    """Our own, without what another make or build would leave there."""
    return {name: value for name, value in os.environ.items() if name not in UNSET} | settings


def run(command: Sequence[str | Path], folder: Path = ROOT, umask: int = -1, **settings: str) -> str:
    """Runs a program that must succeed; what it says."""
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(**settings), umask=umask, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def build(tree: Path, out: Path, *what: str) -> None:
    """Builds `--wheel` or `--sdist` of a tree, or both."""
    for each in what:
        run([sys.executable, "-m", "build", "--no-isolation", each, "--outdir", out, tree], tree)


def copy_tree(folder: Path) -> Path:
    """A copy of the checkout that may be changed, without its history."""
    shutil.rmtree(folder, ignore_errors=True)
    with sources.copy(ROOT) as tree:
        shutil.copytree(tree, folder, symlinks=True)
    return folder


def make_environment(folder: Path) -> Environment:
    """An empty one."""
    venv.create(folder, with_pip=True, symlinks=True)
    return Environment(folder)
