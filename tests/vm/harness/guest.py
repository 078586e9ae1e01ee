"""A virtual machine whose first process is a test's script: nothing runs in it but the kernel and that."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.kernel import Kernel
from harness.qemu import DEADLINE_S, Hardware, kernel_arguments, run_qemu, serial


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that has ended.

    Attributes:
        status: of its script; 0: every command of it succeeded.
        console: what the kernel and the script said.
        tree: what the script kept, at the paths where it was.
    """

    status: int
    console: str
    tree: Path

    def text(self, path: str) -> str:
        """What a file held that was kept, without the newline at its end.

        Raises:
            FileNotFoundError: it was not there.
        """
        return (self.tree / path).read_text().removesuffix("\n")


def run(
    kernel: Kernel,
    initramfs: bytes,
    command_line: str,
    folder: Path,
    hardware: Hardware | None = None,
    deadline_s: float = DEADLINE_S,
) -> Guest:
    """Boots a kernel, and waits until the guest ends.

    Args:
        kernel: what is booted.
        initramfs: its first file system.
        command_line: the kernel's, all of it; see `CONSOLE_WORDS`.
        folder: an empty one, for the console's log and what is kept.
        hardware: what it runs on.
        deadline_s: for how long it may run, in seconds.

    Raises:
        GuestError: as `run_qemu`.
    """
    boot = (*serial("kept", folder / "kept.tar"), *kernel_arguments(kernel, initramfs, command_line, folder))
    status, console = run_qemu(boot, folder, hardware or Hardware(), deadline_s)
    tree = folder / "kept"
    with tarfile.open(folder / "kept.tar") as archive:
        archive.extractall(tree, filter="data")
    return Guest(status, console, tree)
