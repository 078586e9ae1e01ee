"""Debian's own update-initramfs, in a private mount namespace over an overlay of /: nothing of it reaches this machine."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders import modprobe
from greenboost_py.kernel_params.bootloaders.modprobe import Modprobe
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.modprobe_d import read_options
from greenboost_py.kernel_params.plan import Command

RELEASE = "6.1.0-0-greenboost"

SYSTEM = {
    f"boot/vmlinuz-{RELEASE}": "",
    f"boot/config-{RELEASE}": "CONFIG_RD_GZIP=y\n",
    # That there is one already is what -u -k all goes by.
    f"boot/initrd.img-{RELEASE}": "",
    f"var/lib/initramfs-tools/{RELEASE}": "",
    f"usr/lib/modules/{RELEASE}/modules.order": "",
    f"usr/lib/modules/{RELEASE}/modules.builtin": "",
    "etc/initramfs-tools/conf.d/greenboost": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n",
    "etc/initramfs-tools/modules": "",
}

ENTER = """\
set -e
mount -t tmpfs none "$1/mount"
mkdir "$1/mount/upper" "$1/mount/work" "$1/mount/new"
cp -R "$1/upper/." "$1/mount/upper"
mount -t overlay -o "lowerdir=/,upperdir=$1/mount/upper,workdir=$1/mount/work" overlay "$1/mount/new" || exit 77
mount --rbind /dev "$1/mount/new/dev"
mount -t proc proc "$1/mount/new/proc"
exec chroot "$1/mount/new" sh -ec "$2" 3>"$1/out.tar"
"""
"""Makes the root that $2 runs in; what it writes to descriptor 3 comes out."""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder with `upper`, what the system has on top of this machine's, and `mount`, where to mount."""
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    for tool in ("unshare", "chroot", "update-initramfs", "unmkinitramfs", "modprobe", "cpio"):
        if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"no {tool} (initramfs-tools, kmod, cpio)")
    (tmp_path / "mount").mkdir()
    lay(tmp_path / "upper", SYSTEM)
    return tmp_path


PACK = f"""\
unmkinitramfs /boot/initrd.img-{RELEASE} /out
if test -d /out/main; then cd /out/main; else cd /out; fi
tar -c etc/modprobe.d >&3
"""


def build(bench: Path, commands: tuple[Command, ...]) -> dict[str, bytes]:
    """Runs a plan's commands there. Returns the files in modprobe.d of the initramfs that they have made."""
    script = "".join(f"{shlex.join(command.argv)} >&2\n" for command in commands) + PACK
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", str(bench), script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no private overlay here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert f"Generating /boot/initrd.img-{RELEASE}" in done.stderr
    out = bench / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run(["tar", "-xf", bench / "out.tar", "-C", out], check=True)
    return {path.name: path.read_bytes() for path in out.glob("etc/modprobe.d/*.conf")}


def test_update_initramfs_takes_our_file_in_and_out_again(bench: Path) -> None:
    upper = bench / "upper"
    lay(bench / "machine", {"usr/sbin/update-initramfs": "", "proc/sys/kernel/osrelease": RELEASE})
    machine, tree = Machine(SysRoot(bench / "machine"), is_live=False), Tree(upper)
    plan = Modprobe().plan(machine, {"ttm.pages_limit": "25165824", "amdgpu.gttsize": "98304"})
    ((edit,), name) = plan.edits, Path(modprobe.PATH).name
    assert edit.after is not None

    tree.make_folders(edit.path)
    tree.write(edit.path, edit.after)
    assert build(bench, plan.commands)[name] == edit.after
    inside, errors = read_options(Machine(SysRoot(bench / "out"), is_live=False))
    assert errors == ()
    assert {option.word for option in inside} >= {"ttm.pages_limit=25165824", "amdgpu.gttsize=98304"}

    tree.remove(edit.path)
    assert name not in build(bench, plan.undo_commands)
