"""A kernel to boot, with its modules: Debian's own, unpacked from its package, never installed."""

import lzma
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.apt import Apt
from harness.cache import Cache

_PACKAGE = "linux-image-amd64"
"""Depends on the newest kernel of the release; the cloud kernels have no DRM, so no TTM."""

_DEPENDS = re.compile(r"^Depends: .*?(linux-image-[a-z0-9.+-]+) \(= ([^)]+)\)", re.MULTILINE)
_PARTS = re.compile(r"(linux-(?:base|binary|modules)-[a-z0-9.+-]+) \(= ([^)]+)\)")
_NEVER_LOADED = (
    "sound",
    *(f"drivers/{kind}" for kind in ("iio", "infiniband", "net", "scsi", "staging", "usb")),
)
"""Half of a kernel's modules, none of which a GPU's driver needs; depmod reads every one that is there."""

_MODULE = re.compile(r"(?P<name>[^/]+)\.ko(?:\.xz|\.zst)?$")


class NoKernelError(Exception):
    """There is no kernel in the cache, and none can be had."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel with its modules.

    Attributes:
        image: what is booted; unpacked, where that is possible: QEMU's processor takes 5 s to unpack it.
        modules: its folder of modules, lib/modules/RELEASE, with what depmod makes of them.
    """

    image: Path
    modules: Path

    @property
    def release(self) -> str:
        """What it calls itself: 6.1.0-47-amd64."""
        return self.modules.name

    def has(self, name: str) -> bool:
        """Whether it has a module, as a file or built in."""
        return _plain(name) in self._paths()

    def with_dependencies(self, names: Iterable[str]) -> tuple[str, ...]:
        """The files of some modules and of all that they need, relative to `modules`, in an order they can be loaded in.

        What is built in has no file.

        Raises:
            KeyError: there is no such module.
        """
        paths = self._paths()
        lines = (line.partition(":") for line in (self.modules / "modules.dep").read_text().splitlines())
        needs = {path: needed.split() for path, _, needed in lines}
        ordered: dict[str, None] = {}
        for name in names:
            path = paths[_plain(name)]
            # depmod lists what a module needs so that the last is to be loaded first.
            ordered |= dict.fromkeys([*reversed(needs[path]), path]) if path is not None else {}
        return tuple(ordered)

    def _paths(self) -> dict[str, str | None]:
        """Its modules' files, by name; None: built in."""
        lists = {name: (self.modules / f"modules.{name}").read_text().splitlines() for name in ("builtin", "dep")}
        files = (line.partition(":")[0] for line in lists["dep"])
        return {_name_of(path): None for path in lists["builtin"]} | {_name_of(path): path for path in files}


def get_kernel(cache: Cache, name: str = "kernel", source: Callable[[], Apt] = Apt) -> Kernel:
    """Debian's kernel: the one that apt would install, or, where it cannot be downloaded, one that is in the cache.

    Args:
        cache: where it is kept.
        name: what it is called there.
        source: where its packages come from.

    Raises:
        NoKernelError: there is none.
    """
    try:
        apt = source()
        packages = _packages(apt)
        words = (*(word for package in packages for word in package), *_NEVER_LOADED)
        folder = cache.made(name, words, lambda place: _unpack(apt, packages, place))
    except (subprocess.CalledProcessError, FileNotFoundError, LookupError) as error:
        folders = cache.all(name)
        if not folders:
            said = getattr(error, "stderr", "") or str(error)
            raise NoKernelError(f"no {name} in {cache.folder}, and none can be downloaded: {said}") from error
        folder = folders[-1]
    modules = _modules_of(folder)
    plain = folder / "boot/vmlinux"
    return Kernel(plain if plain.exists() else folder / f"boot/vmlinuz-{modules.name}", modules)


def _packages(apt: Apt) -> list[tuple[str, str]]:
    """The packages that hold the newest kernel, with their versions: one, or since Linux 7 one for each part.

    Raises:
        LookupError: apt knows of none.
    """
    found = _DEPENDS.search(apt.show(_PACKAGE))
    if found is None:
        raise LookupError(f"{_PACKAGE} depends on no kernel")
    image = (found[1], found[2])
    return [image, *_PARTS.findall(apt.show(image[0]))]


def _unpack(apt: Apt, packages: list[tuple[str, str]], folder: Path) -> None:
    for package, version in packages:
        apt.unpack(package, version, folder)
    usr = folder / "usr/lib/modules"
    if usr.exists():
        (folder / "lib").mkdir(exist_ok=True)
        usr.rename(folder / "lib/modules")
    modules = _modules_of(folder)
    for kind in _NEVER_LOADED:
        shutil.rmtree(modules / "kernel" / kind)
    if (modules / "vmlinuz").exists():  # since Linux 7; the folder's boot/ is then empty
        (folder / "boot").mkdir(exist_ok=True)
        (modules / "vmlinuz").rename(folder / f"boot/vmlinuz-{modules.name}")
    subprocess.run(("depmod", "--basedir", str(folder), modules.name), capture_output=True, text=True, check=True)
    plain = unpacked((folder / f"boot/vmlinuz-{modules.name}").read_bytes())
    if plain is not None:
        (folder / "boot/vmlinux").write_bytes(plain)


def _modules_of(folder: Path) -> Path:
    (modules,) = (folder / "lib/modules").iterdir()
    return modules


def unpacked(image: bytes) -> bytes | None:
    """The ELF file in a kernel's image, which QEMU boots by its PVH entry; None: it is not packed with xz.

    Source: Documentation/x86/boot.rst: setup_sects, payload_offset, payload_length.
    """
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[512 * (1 + (image[0x1F1] or 4)) + offset :][:length]
    if not payload.startswith(b"\xfd7zXZ\0"):
        return None
    # What follows the stream is its length, for the kernel's own unpacking.
    return lzma.LZMADecompressor().decompress(payload)


def _name_of(path: str) -> str:
    found = _MODULE.search(path)
    return _plain(found["name"]) if found else path


def _plain(name: str) -> str:
    return name.replace("-", "_")
