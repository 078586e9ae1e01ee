"""A virtual machine that starts as a user's does: systemd and all, from a disk, of which each guest has its own state."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.guest import Guest
from harness.initramfs import FUNCTIONS, initramfs_to_disk
from harness.kernel import Kernel
from harness.qemu import CONSOLE_WORDS, DEADLINE_S, Hardware, kernel_arguments, run_qemu

SYSTEM = Hardware(memory_mib=1024)
"""One processor: emulated ones wait for each other, and two guests run at once."""

_RUN = """\
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
KEPT=/mnt/test/kept
. /mnt/test/functions
exec >/mnt/test/log 2>&1
(
\tset -eE
\ttrap 'echo "failed ($?): $BASH_COMMAND (line $LINENO)"' ERR
\tcd /mnt/test
\t. /mnt/test/script
)
status=$?
sync
end $status
"""


@dataclass(frozen=True, slots=True)
class System:
    """Boots a Debian.

    Attributes:
        kernel: its kernel.
        disk: its disk; what a guest writes there is gone with the guest.
        log_dir: where each of its guests gets a folder of its own.
    """

    kernel: Kernel
    disk: Path
    log_dir: Path

    def __call__(
        self,
        script: str,
        words: str = "",
        *,
        files: Mapping[str, Path] | None = None,
        modules: Sequence[str] = (),
        hardware: Hardware = SYSTEM,
        deadline_s: float = DEADLINE_S,
    ) -> Guest:
        """Runs a script as root once the system has started; every command of it has to succeed.

        Args:
            script: for bash; `functions.sh` has what it may use. It starts in the folder of `files`.
            words: of the command line, beside those that the console needs.
            files: those that the guest has in /mnt/test, by their names there.
            modules: of the kernel, those that the guest has.
            hardware: what it runs on.
            deadline_s: for how long it may run, in seconds.
        """
        folder = new_folder(self.log_dir)
        line = f"{CONSOLE_WORDS} quiet {words}"
        drive = ("-drive", f"file={self.disk},if=virtio,format=raw,snapshot=on")
        boot = kernel_arguments(self.kernel, initramfs_to_disk(self.kernel, modules), line, folder)
        return run_system((*drive, *boot), script, files or {}, folder, hardware, deadline_s)


def new_folder(log_dir: Path) -> Path:
    """The next guest's own folder."""
    folder = log_dir / str(len(list(log_dir.iterdir())) + 1)
    folder.mkdir()
    return folder


def run_system(
    boot: Sequence[str],
    script: str,
    files: Mapping[str, Path],
    folder: Path,
    hardware: Hardware = SYSTEM,
    deadline_s: float = DEADLINE_S,
) -> Guest:
    """Boots a system that has guest-test.service, and runs a script there; as `System`, with any disk.

    Args:
        boot: the disk, and what is booted, as arguments of QEMU's.
        script, files, hardware, deadline_s: as there.
        folder: an empty one; its share/ is the guest's /mnt/test.

    Raises:
        GuestError: as `run_qemu`.
        AssertionError: a command of the script failed.
    """
    share = folder / "share"
    (share / "kept").mkdir(parents=True)
    shutil.copy(FUNCTIONS, share / "functions")
    (share / "run").write_text(_RUN)
    (share / "script").write_text(script)
    for name, path in files.items():
        (share / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, share / name)
    shared = ("-virtfs", f"local,path={share},mount_tag=test,security_model=none")
    machine = replace(hardware, arguments=(*hardware.arguments, *shared))
    status, console = run_qemu(boot, folder, machine, deadline_s)
    if status:
        raise AssertionError(f"the guest's script failed ({status}); {folder}:\n{(share / 'log').read_text()}")
    return Guest(status, console, share / "kept")
