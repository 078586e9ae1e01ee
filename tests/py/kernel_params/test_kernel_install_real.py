"""The real kernel-install, bootctl and dracut, each in a private mount namespace over a tree of the test's own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params import bls, pe
from greenboost_py.kernel_params.bootloaders.kernel_install import KernelInstall, seed
from greenboost_py.kernel_params.bootloaders.loader_entries import LoaderEntries
from greenboost_py.kernel_params.bootloaders.uki_dracut import UkiDracut
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import FileEdit, Plan

RELEASE = "9.9.9-greenboost"
ENTRY = f"boot/loader/entries/tok-{RELEASE}.conf"
SET = {"ttm.pages_limit": "25165824", "iommu": "pt"}
STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")

needs_kernel_install = pytest.mark.skipif(
    shutil.which("kernel-install") is None or not Path("/etc/kernel").is_dir(),
    reason="kernel-install is not installed (package systemd)",
)
needs_bootctl = pytest.mark.skipif(
    shutil.which("bootctl") is None, reason="bootctl is not installed (package systemd-boot)"
)
needs_dracut = pytest.mark.skipif(
    None in (shutil.which("dracut"), shutil.which("objcopy")) or not STUB.exists(),
    reason="dracut, objcopy or the stub is not installed (packages dracut-core, binutils, systemd-boot-efi)",
)


def run(root: Path, *argv: str, mounts: tuple[str, ...], before: str = "true") -> str:
    """Runs a program where parts of the tree lie over the machine's own folders; what it prints.

    Args:
        root: the tree.
        argv: the program and its arguments.
        mounts: the tree's folders and files that stand in for the machine's of the same path.
        before: a command of the shell that makes what is to be mounted over.
    """
    binds = " && ".join(f'mount --bind "$root/{path}" /{path}' for path in mounts)
    script = f'root="$1"; shift; mount --make-rprivate / && {before} && {binds} || exit 125; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(root), *argv],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_RELAX_ESP_CHECKS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 125 or (done.returncode and done.stderr.startswith("unshare:")):
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def apply(root: Path, edits: tuple[FileEdit, ...], is_undo: bool = False) -> None:
    tree = Tree(root)
    for edit in edits:
        text = edit.before if is_undo else edit.after
        if text is None:
            tree.remove(edit.path)
        else:
            tree.write(edit.path, text)


def content(root: Path) -> dict[str, bytes]:
    return {
        str(Path(folder, name).relative_to(root)): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A system with one kernel, and the boot entry that kernel-install made for it."""
    lay(
        tmp_path,
        {
            "etc/kernel/cmdline": "root=LABEL=x ro\nquiet\n",
            "etc/kernel/install.conf": "layout=bls\n",
            "etc/kernel/entry-token": "tok\n",
            "boot/loader/loader.conf": "timeout 3\n",
            "boot/loader/entries/other.conf": "title Other\nlinux /x\noptions root=LABEL=other\n",
            f"boot/vmlinuz-{RELEASE}": "a kernel",
            f"boot/initrd.img-{RELEASE}": "its initramfs",
            f"lib/modules/{RELEASE}/modules.dep": "",
            "usr/bin/kernel-install": "",
        },
    )
    add(tmp_path)
    return tmp_path


def add(root: Path, *more: str) -> None:
    run(root, "kernel-install", "add", RELEASE, f"/boot/vmlinuz-{RELEASE}", mounts=("etc/kernel", "boot", *more))


def do(root: Path, plan: Plan) -> None:
    assert not plan.obstacles
    apply(root, plan.edits)
    for command in plan.commands:
        run(root, *command.argv, mounts=("etc/kernel", "boot"))


@needs_kernel_install
def test_kernel_install_real_entry_holds_what_was_set_and_undo_gives_back_every_byte(tree: Path) -> None:
    machine, before = Machine(SysRoot(tree), False), content(tree)
    assert KernelInstall().detect(machine)

    plan = KernelInstall().plan(machine, SET)
    do(tree, plan)
    entry = bls.parse_entry(ENTRY, (tree / ENTRY).read_bytes())
    assert entry.command_line == "root=LABEL=x ro quiet ttm.pages_limit=25165824 iommu=pt"
    assert entry.version == RELEASE
    found = KernelInstall().entries(machine)
    assert found is not None
    assert [(one.place, one.command_line) for one in found] == [(f"/{ENTRY}", entry.command_line)]
    changed = {path for path, data in content(tree).items() if before.get(path) != data}
    assert changed == {"etc/kernel/cmdline", ENTRY}
    assert KernelInstall().plan(machine, SET) == Plan()

    apply(tree, plan.edits, is_undo=True)
    for command in plan.undo_commands:
        run(tree, *command.argv, mounts=("etc/kernel", "boot"))
    assert content(tree) == before


@needs_kernel_install
@needs_bootctl
def test_bootctl_lists_the_entry_with_what_was_set(tree: Path) -> None:
    (tree / "boot/EFI/systemd").mkdir(parents=True)
    do(tree, KernelInstall().plan(Machine(SysRoot(tree), False), SET))
    printed = run(tree, "bootctl", "--esp-path=/boot", "list", "--json=short", mounts=("etc/kernel", "boot"))
    options = {one["id"]: one["options"] for one in _json_of(printed) if "options" in one}
    assert options[f"tok-{RELEASE}.conf"] == "root=LABEL=x ro quiet ttm.pages_limit=25165824 iommu=pt"
    assert options["other.conf"] == "root=LABEL=other"


@needs_bootctl
def test_bootctl_lists_an_entry_edited_by_hand_with_what_was_set(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "boot/loader/loader.conf": "default a.conf\n",
            "boot/loader/entries/a.conf": "title A\nlinux /a\noptions root=LABEL=x\noptions\tquiet  iommu=off\n",
            "boot/loader/entries/b.conf": "title B\nlinux /b",
        },
    )
    (tmp_path / "boot/EFI/systemd").mkdir(parents=True)
    (tmp_path / "boot/loader/entries/b.conf").write_text("title B\nlinux /b\noptions root=LABEL=x")
    plan = LoaderEntries().plan(Machine(SysRoot(tmp_path), False), SET)
    assert not plan.obstacles
    apply(tmp_path, plan.edits)
    printed = run(tmp_path, "bootctl", "--esp-path=/boot", "list", "--json=short", mounts=("boot",))
    options = {one["id"]: one["options"] for one in _json_of(printed) if "options" in one}
    assert options["a.conf"] == "root=LABEL=x quiet  iommu=pt ttm.pages_limit=25165824"
    assert options["b.conf"] == "root=LABEL=x ttm.pages_limit=25165824 iommu=pt"


def _json_of(text: str) -> list[dict[str, str]]:
    """Entries as bootctl prints them: a list, or (systemd 252) one object a line."""
    parsed = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [one for part in parsed for one in (part if isinstance(part, list) else [part])]


@needs_kernel_install
def test_kernel_install_real_entry_is_the_same_with_a_seeded_file_and_without_one(tree: Path) -> None:
    running = "BOOT_IMAGE=/vmlinuz root=LABEL=live  ro initrd=\\x quiet my.initrd=1\n"
    lay(tree, {"proc/cmdline": running})
    (tree / "etc/kernel/cmdline").unlink()
    add(tree, "proc/cmdline")
    without = (tree / ENTRY).read_bytes()
    assert b"root=LABEL=live" in without
    (tree / "etc/kernel/cmdline").write_text(seed(Machine(SysRoot(tree), True)))
    add(tree, "proc/cmdline")
    assert (tree / ENTRY).read_bytes() == without


@needs_dracut
def test_dracut_builds_an_image_that_holds_what_was_set(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "etc/dracut.conf": "",
            "etc/machine-id": "9f4a51c0b5e04a6bb0f5b7c3a1d2e3f4\n",
            # As little as dracut puts into an image: one of its modules, and no kernel module.
            "etc/dracut.conf.d/10-uefi.conf": (
                'uefi="yes"\nhostonly="no"\nno_kernel="yes"\ndracutmodules+=" base "\nearly_microcode="no"\n'
                'do_strip="no"\ncompress="cat"\n'
            ),
            "etc/dracut.conf.d/cmdline.conf": 'kernel_cmdline="root=LABEL=x ro quiet"\n',
            f"usr/lib/modules/{RELEASE}/modules.dep": "",
            f"usr/lib/modules/{RELEASE}/vmlinuz": "a kernel",
            "usr/bin/dracut": "",
        },
    )
    (tmp_path / "boot/efi/EFI").mkdir(parents=True)
    machine = Machine(SysRoot(tmp_path), False)
    assert UkiDracut().detect(machine)
    plan = UkiDracut().plan(machine, SET)
    assert not plan.obstacles
    apply(tmp_path, plan.edits)
    # The machine may have no folder for modules: one is made in a layer over /usr/lib that nobody else sees.
    layer = (
        "{ test -d /usr/lib/modules || { mount -t tmpfs tmpfs /mnt && mkdir /mnt/new /mnt/work && "
        "mount -t overlay overlay -o lowerdir=/usr/lib,upperdir=/mnt/new,workdir=/mnt/work /usr/lib && "
        "mkdir /usr/lib/modules; }; }"
    )
    mounts = ("etc/dracut.conf", "etc/dracut.conf.d", "etc/machine-id", "boot", "usr/lib/modules")
    for command in plan.commands:
        run(tmp_path, *command.argv, mounts=mounts, before=layer)
    (path,) = pe.image_paths(machine)
    assert path == f"boot/efi/EFI/Linux/linux-{RELEASE}-9f4a51c0b5e04a6bb0f5b7c3a1d2e3f4.efi"
    found = UkiDracut().entries(machine)
    assert found is not None
    assert [(one.place, one.command_line) for one in found] == [
        (f"/{path}", "root=LABEL=x ro quiet ttm.pages_limit=25165824 iommu=pt")
    ]
