"""QEMU without KVM and without a network, with a deadline, and gone when it is done."""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.kernel import Kernel

CONSOLE_WORDS = "console=ttyS0 panic=-1"
"""What a command line needs so that the console is kept, and a panic ends the guest at once."""

DEADLINE_S = 180
"""A boot takes 3 s to 20 s; this is for one that hangs."""

_EXIT_PORT = "isa-debug-exit,iobase=0xf4,iosize=0x04"


class GuestError(Exception):
    """A guest did not end by itself with a status."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What is emulated.

    Attributes:
        machine, cpu: as QEMU names them.
        memory_mib: RAM, in MiB.
        cpus: how many.
        arguments: further ones of QEMU's, as disks, shared folders and graphics cards.
    """

    machine: str = "pc"
    cpu: str = "EPYC-v1"
    memory_mib: int = 512
    cpus: int = 1
    arguments: tuple[str, ...] = ()


def kernel_arguments(kernel: Kernel, initramfs: bytes, command_line: str, folder: Path) -> tuple[str, ...]:
    """Boots a kernel without a boot loader.

    Args:
        kernel: what is booted.
        initramfs: its first file system.
        command_line: the kernel's, all of it; see `CONSOLE_WORDS`.
        folder: where the initramfs is written.
    """
    (folder / "initramfs").write_bytes(initramfs)
    return ("-kernel", str(kernel.image), "-initrd", str(folder / "initramfs"), "-append", command_line)


def run_qemu(boot: Sequence[str], folder: Path, hardware: Hardware, deadline_s: float = DEADLINE_S) -> tuple[int, str]:
    """Runs a machine until it ends itself.

    Args:
        boot: what is booted, as arguments of QEMU's.
        folder: where console.log, the first serial port, and qemu.log are written.
        hardware: what it runs on.
        deadline_s: for how long it may run, in seconds.

    Returns:
        The status it ended with, 0 or more, and what the console said.

    Raises:
        GuestError: it was still running at the deadline, or ended without a status, as after a panic.
    """
    with (folder / "qemu.log").open("wb") as log:
        returned = _wait(_qemu(boot, folder, hardware), log.fileno(), deadline_s)
    console = (folder / "console.log").read_text(errors="replace") if (folder / "console.log").exists() else ""
    if returned is None or returned <= 1 or returned % 2 == 0:
        how = "was still running" if returned is None else f"ended without a status (QEMU: {returned})"
        said = "\n".join([(folder / "qemu.log").read_text(errors="replace"), *console.splitlines()[-80:]])
        raise GuestError(f"the guest {how}; {folder}:\n{said}")
    return returned // 2 - 1, console


def serial(name: str, path: Path) -> tuple[str, ...]:
    """A serial port that a file hears."""
    return "-chardev", f"file,id={name},path={path}", "-serial", f"chardev:{name}"


def _qemu(boot: Sequence[str], folder: Path, hardware: Hardware) -> Sequence[str]:
    return (
        # Whatever ends us ends the guest.
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", f"{hardware.machine},accel=tcg", "-cpu", hardware.cpu),
        *("-m", f"{hardware.memory_mib}M", "-smp", str(hardware.cpus)),
        *serial("console", folder / "console.log"),
        *("-device", _EXIT_PORT),
        *hardware.arguments,
        *boot,
    )


def _wait(argv: Sequence[str], log: int, deadline_s: float) -> int | None:
    """Runs a program in a process group of its own, of which nothing is left.

    Returns:
        Its exit status, negative where a signal ended it; None: it was still running at the deadline.
    """
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True) as process:
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
