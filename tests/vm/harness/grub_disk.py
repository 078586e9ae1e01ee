"""A disk that starts by itself, as a user's does: GRUB for BIOS, put there by grub-install, a menu made by update-grub."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.cache import Cache
from harness.debian import get_root
from harness.grub import DEFAULT_GRUB
from harness.guest import Guest
from harness.initramfs import initramfs_to_disk
from harness.kernel import Kernel
from harness.qemu import CONSOLE_WORDS, Hardware, kernel_arguments
from harness.system import new_folder, run_system

HARDWARE = Hardware(memory_mib=3072)
"""With less memory, 1 GiB for a GPU would be refused; what is not used of it takes nothing of the machine's."""

DEADLINE_S = 600
"""A boot has taken 290 s on two processors that ten others wanted as well; this is for one that hangs."""

_MODULES = ("ttm", "amdgpu")
"""Of the kernel, those that the disk has."""

_INDICES = ("modules.builtin", "modules.symbols")
"""What greenboost reads of an installed kernel, beside what modprobe does."""

_START_MIB = 1
"""Where the partition begins; GRUB lies in the gap before it. Source: sfdisk(8): its own default."""

_PARTITION_MIB = 2048
"""Sparse, as the disk without partitions."""

_DEFAULTS = f"{DEFAULT_GRUB}GRUB_TIMEOUT=0\nGRUB_TERMINAL=serial\nGRUB_SERIAL_COMMAND=serial\n"
"""Nobody is there to choose an entry, and there is no screen."""

_INSTALL = """\
cp vmlinuz-* initrd.img-* /boot
cp grub /etc/default
# The modules lie in memory, over the disk's own folder.
mount --bind / /mnt
cp -a /usr/lib/modules/. /mnt/usr/lib/modules
cp modules.* /mnt/usr/lib/modules/*
umount /mnt
grub-install --target=i386-pc /dev/vda
update-grub
"""

SHUT_DOWN = "fsfreeze --freeze /\n"
"""Leaves the disk as a shutdown does, with nothing in its journal, which GRUB does not read."""


@dataclass(frozen=True, slots=True)
class Computer:
    """A machine that starts from such a disk, which keeps from boot to boot what is written to it.

    Attributes:
        disk: its own.
        log_dir: where each boot gets a folder of its own.
    """

    disk: Path
    log_dir: Path

    def boot(self, script: str, files: Mapping[str, Path] | None = None) -> Guest:
        """Starts it by its boot loader, runs a script, and cuts the power; after `SHUT_DOWN` that does no harm.

        Args:
            script: as `System`'s.
            files: as there.
        """
        return run_system(_drive(self.disk), script, files or {}, new_folder(self.log_dir), HARDWARE, DEADLINE_S)


def new_computer(made: Path, disk: Path, log_dir: Path) -> Computer:
    """A machine with a disk of its own.

    Args:
        made: what its disk begins as: `get_grub_disk`.
        disk: where that will lie.
        log_dir: as `Computer`'s.
    """
    _run("cp", "--sparse=always", "--reflink=auto", str(made), str(disk))
    return Computer(disk, log_dir)


def get_grub_disk(cache: Cache, kernel: Kernel) -> Path:
    """The Debian of `get_root` on the first partition of a disk, with GRUB, a kernel and its modules.

    Raises:
        NoRootError: as `get_root`.
    """
    root, initrd = get_root(cache), initramfs_to_disk(kernel)
    ingredients = (root.parent.name, kernel.release, sha256(initrd).hexdigest(), *_MODULES, _DEFAULTS, _INSTALL)
    return cache.made("grub-disk", ingredients, lambda place: _make(place, root, kernel, initrd)) / "disk"


def _make(place: Path, root: Path, kernel: Kernel, initrd: bytes) -> None:
    disk, log = place / "disk", place / "log"
    _partition(disk, root)
    log.mkdir()
    (log / "initrd").write_bytes(initrd)
    (log / "grub").write_text(_DEFAULTS)
    files = {f"vmlinuz-{kernel.release}": kernel.image.with_name(f"vmlinuz-{kernel.release}")}
    files |= {f"initrd.img-{kernel.release}": log / "initrd", "grub": log / "grub"}
    files |= {name: kernel.modules / name for name in _INDICES}
    line = f"{CONSOLE_WORDS} quiet root=/dev/vda1"
    boot = kernel_arguments(kernel, initramfs_to_disk(kernel, _MODULES), line, log)
    run_system((*_drive(disk), *boot), _INSTALL + SHUT_DOWN, files, log, HARDWARE, DEADLINE_S)
    shutil.rmtree(log)


def _partition(disk: Path, root: Path) -> None:
    """A partition table, and a file system in its first partition."""
    with disk.open("wb") as file:
        file.truncate((_START_MIB + _PARTITION_MIB) << 20)
    _run("sfdisk", "--quiet", "--label", "dos", str(disk), said=f"start={_START_MIB}MiB, type=83, bootable\n")
    offset = f"offset={_START_MIB << 20}"
    _run("mkfs.ext4", "-q", "-F", "-E", offset, "-d", str(root), str(disk), f"{_PARTITION_MIB}M")


def _drive(disk: Path) -> tuple[str, ...]:
    # What the guest has flushed outlives the guest; it need not outlive the machine.
    return "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"


def _run(*argv: str, said: str = "") -> None:
    subprocess.run(argv, input=said, capture_output=True, text=True, check=True)
