"""What the kernel unpacks at boot: busybox, the real modprobe, chosen modules, and a script to run."""

import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from harness import cpio
from harness.kernel import Kernel

_INIT, FUNCTIONS, _TO_DISK = (Path(__file__).with_name(name) for name in ("init.sh", "functions.sh", "to_disk.sh"))

_DISK_MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "9p", "9pnet_virtio")
"""A disk's, its file system's, and a shared folder's; some kernels have no use for some of them."""

_KMOD_NAMES = ("modprobe", "rmmod")


class NoToolError(Exception):
    """A program that goes into the guest is not installed."""


def initramfs(
    kernel: Kernel, script: str, modules: Sequence[str] = (), files: Mapping[str, str] | None = None
) -> bytes:
    """An archive that runs a script as root in a system that is nothing else, and then ends the guest.

    Args:
        kernel: the one that will unpack it.
        script: for busybox's sh, which stops at the first command that fails; `functions.sh` has what it may use.
        modules: those that modprobe shall find, beside what they need.
        files: further ones, by their paths without a leading slash.
    """
    own = (cpio.file("functions", FUNCTIONS.read_bytes()), cpio.file("test", script.encode()))
    return _archive(kernel, _INIT, modules, (*own, *_texts(files or {})))


def initramfs_to_disk(kernel: Kernel, modules: Sequence[str] = ()) -> bytes:
    """An archive that goes on with the system on the disk: `to_disk.sh`.

    Args:
        kernel: the one that will unpack it; the disk need not have its modules.
        modules: those that the system shall find, beside what the disk needs.
    """
    return _archive(kernel, _TO_DISK, (*filter(kernel.has, _DISK_MODULES), *modules), ())


def _archive(kernel: Kernel, init: Path, modules: Sequence[str], more: Iterable[cpio.Entry]) -> bytes:
    entries = [
        cpio.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        cpio.file("init", init.read_bytes(), 0o755),
        *_programs(),
        *_modules(kernel, modules),
        *more,
    ]
    return cpio.archive(entries)


def _texts(files: Mapping[str, str]) -> Iterator[cpio.Entry]:
    return (cpio.file(path, text.encode()) for path, text in files.items())


def _programs() -> Iterator[cpio.Entry]:
    for name in ("busybox", "kmod"):
        program = _installed(name)
        for path in (program, *_libraries(program)):
            place = f"bin/{name}" if path == program else str(path).lstrip("/")
            yield cpio.file(place, path.read_bytes(), 0o755)
    yield cpio.link("bin/sh", "busybox")
    for name in _KMOD_NAMES:
        yield cpio.link(f"bin/{name}", "kmod")


def _modules(kernel: Kernel, names: Sequence[str]) -> Iterator[cpio.Entry]:
    """The files of modules, and depmod's indices, as modprobe reads them."""
    folder = f"lib/modules/{kernel.release}"
    for index in sorted(kernel.modules.glob("modules.*.bin")):
        yield cpio.file(f"{folder}/{index.name}", index.read_bytes())
    for path in kernel.with_dependencies(names):
        yield cpio.file(f"{folder}/{path}", (kernel.modules / path).read_bytes())


def _installed(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise NoToolError(f"{program} is not installed")
    return Path(found).resolve()


@cache
def _libraries(program: Path) -> tuple[Path, ...]:
    """The shared libraries of a program, and what loads them; a static one has none, and fails ldd."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return tuple(Path(word) for word in listed.split() if word.startswith("/"))
