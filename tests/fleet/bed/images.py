"""Roots of container images, laid out by hand: a program that takes GPU memory, and one C library or another.

The simulated driver and the program are compiled against the oldest of them, so that they run with each.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.cache import Cache

ROOT = Path(__file__).resolve().parents[3]
OLD_RELEASE = "bullseye"
"""glibc 2.31, the oldest that Debian's mirrors have."""

_OLD_PACKAGES = ("libc6", "libc6-dev", "linux-libc-dev")
_PROGRAM = ROOT / "tests/fleet/programs/fill.c"
_DRIVER = ROOT / "tests/shim/fake_driver"
_LIBRARIES = ("libc.so.6", "libdl.so.2", "libpthread.so.0", "libm.so.6", "librt.so.1")
_COMMANDS = ("sh", "cat", "touch", "sleep", "true", "env")
_TRIPLET = "lib/x86_64-linux-gnu"
_LOADER = "lib64/ld-linux-x86-64.so.2"


def get_roots(cache: Cache) -> Path:
    """A folder with `driver`, the simulated driver's libraries, and the roots `trainer`, `old-glibc` and `musl`."""
    sources = [file.read_text() for file in sorted(_DRIVER.rglob("*.*")) if file.suffix in (".c", ".h", ".def", ".map")]
    old = cache.made("old-glibc", (OLD_RELEASE, *_OLD_PACKAGES), _fetch_old_glibc)
    recipe = (Path(__file__).read_text(), _PROGRAM.read_text(), *sources)
    return cache.made("images", recipe, lambda folder: _lay_out(folder, old))


def _fetch_old_glibc(folder: Path) -> None:
    options = ("--quiet", "--variant=extract", f"--include={','.join(_OLD_PACKAGES)}")
    root = folder / "root"
    _run("mmdebstrap", *options, OLD_RELEASE, str(root))
    for link in root.rglob("*"):
        if link.is_symlink() and (target := os.readlink(link)).startswith("/"):
            link.unlink()
            link.symlink_to(os.path.relpath(f"{root}{target}", link.parent))


def _lay_out(folder: Path, old: Path) -> None:
    old_root = old / "root"
    libraries = old_root / "usr" / _TRIPLET
    cc = f"cc --sysroot={old_root} -B{libraries} -L{libraries} -L{old_root / _TRIPLET}"
    build = folder / "build"
    driver = [str(build / f"fake_driver/{name}") for name in ("libcuda.so.1", "libnvidia-ml.so.1")]
    _run("make", "--silent", f"--directory={ROOT}", *driver, f"BUILD={build}", f"CC={cc}")
    (folder / "driver").mkdir()
    for library in driver:
        shutil.copy(library, folder / "driver")
    shutil.rmtree(build)
    for name, glibc in (("trainer", Path("/")), ("old-glibc", old_root)):
        root = _root(folder / name, (_TRIPLET, "lib64"))
        for library in _LIBRARIES:
            shutil.copy(glibc / _TRIPLET / library, root / _TRIPLET)
        shutil.copy(glibc / _LOADER, root / _LOADER)
        _run(*cc.split(), "-O2", "-o", str(root / "bin/fill"), str(_PROGRAM), "-ldl")
    musl = _root(folder / "musl", ("lib",))
    shutil.copy("/lib/ld-musl-x86_64.so.1", musl / "lib")
    _run("musl-gcc", "-O2", "-o", str(musl / "bin/fill"), str(_PROGRAM))


def _root(root: Path, folders: Sequence[str]) -> Path:
    for folder in ("bin", "tmp", "run", "etc", *folders):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for command in _COMMANDS:
        (root / "bin" / command).symlink_to("busybox")
    return root


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
