"""What the tests of the kernel's parameters do: boot with some words, run a few lines in the guest, and look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.guest import Guest, run
from harness.initramfs import initramfs
from harness.kernel import Kernel
from harness.qemu import CONSOLE_WORDS, DEADLINE_S, Hardware
from harness.system import new_folder


@dataclass(frozen=True, slots=True)
class Boot:
    """Boots a kernel.

    Attributes:
        kernel: the one.
        log_dir: where each of its guests gets a folder of its own.
    """

    kernel: Kernel
    log_dir: Path

    def __call__(
        self,
        script: str,
        words: str = "",
        *,
        modules: Sequence[str] = ("ttm",),
        files: Mapping[str, str] | None = None,
        hardware: Hardware | None = None,
        command_line: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Guest:
        """Runs a script in a guest; every command of it has to succeed.

        Args:
            script: see `functions.sh` for what it may use.
            words: of the command line, beside those that the console needs.
            modules: those that the guest has.
            files: those that it has beside, by their paths without a leading slash.
            hardware: what it runs on.
            command_line: all of it, in place of `words`.
            deadline_s: for how long it may run, in seconds.
        """
        folder = new_folder(self.log_dir)
        line = f"{CONSOLE_WORDS} quiet {words}" if command_line is None else command_line
        guest = run(self.kernel, initramfs(self.kernel, script, modules, files), line, folder, hardware, deadline_s)
        if guest.status:
            raise AssertionError(f"the guest's script failed ({guest.status}); {folder}:\n{guest.console}")
        return guest
