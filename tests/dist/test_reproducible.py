"""The same bytes, whoever builds them, where, when and how often."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packages import Packages, build, run

LONG_AGO_S = 1_000_000_000


def somebody_else() -> list[str]:
    """Runs what follows as another user, and without a network, where the kernel lets us."""
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--net"]
    works = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


@pytest.fixture(scope="module")
def elsewhere(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked in a folder with another name, by somebody whose files are his own, long ago."""
    folder = tmp_path_factory.mktemp("another folder, with a longer name")
    with tarfile.open(packages.sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (LONG_AGO_S, LONG_AGO_S), follow_symlinks=False)
    return tree


def test_wheel_from_the_sdist_offline_is_the_wheel_of_the_checkout(
    packages: Packages, elsewhere: Path, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-cache-dir"]
    offline = ["--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    settings = {"LC_ALL": "C.UTF-8", "TZ": "Pacific/Kiritimati", "HOME": str(tmp_path), "MAKEFLAGS": "--jobs=1"}
    run([*somebody_else(), *pip, *offline], elsewhere, umask=0o077, **settings)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == packages.wheel.name
    assert wheel.read_bytes() == packages.wheel.read_bytes()


def test_sdist_from_the_sdist_is_the_sdist(packages: Packages, elsewhere: Path, tmp_path: Path) -> None:
    build(elsewhere, tmp_path, "--sdist")
    assert (tmp_path / packages.sdist.name).read_bytes() == packages.sdist.read_bytes()


def test_build_leaves_nothing_in_the_tree(elsewhere: Path, tmp_path: Path) -> None:
    def listing() -> list[Path]:
        return sorted(path for path in elsewhere.rglob("*") if "__pycache__" not in path.parts)

    before = listing()
    build(elsewhere, tmp_path, "--sdist")
    assert listing() == before
