"""The real grub-mkconfig and update-grub of Debian, in a mount namespace: what they make of what we write."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from namespaces import need_mount_namespaces, run_with_mounts  # type: ignore[import-not-found]
from trees import lay

from greenboost_py.base.files import Tree
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders import grub_menu
from greenboost_py.kernel_params.bootloaders.grub import Grub
from greenboost_py.kernel_params.bootloaders.grub_drop_in import GrubDropIn
from greenboost_py.kernel_params.command_line import split
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.plan import BootEntry, Bootloader, FileEdit

WORD = "ttm.pages_limit=25165824"
SETTINGS = {"ttm.pages_limit": "25165824"}
RELEASE = "6.1.0-13-amd64"
DRY_SYSTEM = "GRUB_DISABLE_OS_PROBER=true\n"
BASES = {
    "debian": "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n"
    'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n',
    "single-quotes": "GRUB_CMDLINE_LINUX_DEFAULT='quiet splash'\n"
    'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT loglevel=3" # and "more"\n',
    "quoted-word": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet dyndbg=\\"file drivers/usb/* +p\\""\n',
    "nothing": "",
    "no-newline": "GRUB_CMDLINE_LINUX=rootwait",
}


@dataclass
class Bed:
    """A system that is only files, and the tools of this machine over them."""

    root: Path
    bootloader: Bootloader

    def write(self, path: str, text: str) -> None:
        lay(self.root, {path: text})

    @property
    def machine(self) -> Machine:
        return Machine(SysRoot(self.root), is_live=False)

    @property
    def menu(self) -> bytes:
        return (self.root / "boot/grub/grub.cfg").read_bytes()

    def apply(self, edits: tuple[FileEdit, ...]) -> None:
        tree = Tree(self.root)
        for edit in edits:
            if edit.after is None:
                tree.remove(edit.path)
            else:
                tree.make_folders(edit.path)
                tree.write(edit.path, edit.after)

    def run(self, *argv: str) -> tuple[int, str]:
        mounts = {f"/{path}": self.root / path for path in ("etc/default", "boot")}
        done = run_with_mounts(mounts, argv)
        return done.returncode, done.stderr

    def set(self, settings: dict[str, str | None]) -> None:
        plan = self.bootloader.plan(self.machine, settings)
        assert plan.obstacles == ()
        self.apply(plan.edits)
        for command in plan.commands:
            assert self.run(*command.argv)[0] == 0

    def entries(self) -> tuple[BootEntry, ...]:
        entries = self.bootloader.entries(self.machine)
        assert entries is not None
        return entries


def linux_line(menu: str) -> str:
    """The command line of the first normal entry, as the kernel is given it."""
    entries = grub_menu.menu_entries(menu, "grub.cfg")
    assert entries is not None
    return next(entry.command_line for entry in entries if not entry.is_recovery)


@pytest.fixture(params=[GrubDropIn, Grub], ids=["drop-in", "bare"])
def make_bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Bed]]:
    need_mount_namespaces()
    for tool in ("grub-mkconfig", "update-grub"):
        if shutil.which(tool, path="/usr/sbin") is None:
            pytest.skip(f"{tool} is missing (apt-get install grub-common grub2-common)")
    if not os.path.isdir("/etc/default") or not os.path.isdir("/boot"):
        pytest.skip("no /etc/default or /boot to stand in for")

    def make(base: str) -> Bed:
        bed = Bed(tmp_path / "system", request.param())
        bed.write("etc/default/grub", base)
        bed.write("etc/default/grub.d/10-dry.cfg", DRY_SYSTEM)
        bed.write(f"boot/vmlinuz-{RELEASE}", "")
        bed.write(f"boot/initrd.img-{RELEASE}", "")
        bed.write("boot/grub/.keep", "")
        text = Path("/usr/sbin/grub-mkconfig").read_text()
        # The bare mechanism is for systems whose tool reads no drop-ins; that Debian's would does not matter to it.
        bed.write("usr/sbin/grub-mkconfig", text if request.param is GrubDropIn else "")
        if request.param is GrubDropIn:
            bed.write("usr/sbin/update-grub", "")
        status, errors = bed.run("update-grub")
        if status and "failed to get canonical path" in errors:
            pytest.skip(f"grub-probe cannot tell this machine's root: {errors.strip().splitlines()[-1]}")
        assert status == 0, errors
        return bed

    yield make


@pytest.mark.parametrize("base", BASES)
def test_grub_real_set_puts_the_word_once_into_normal_entries_and_unset_gives_the_same_menu(
    make_bed: Callable[[str], Bed], base: str
) -> None:
    bed = make_bed(BASES[base])
    files = {path: path.read_bytes() for path in bed.root.rglob("*") if path.is_file()}
    before = {entry.place: entry for entry in bed.entries()}
    bed.set(dict(SETTINGS))
    entries = bed.entries()
    assert {entry.is_recovery for entry in entries} == {True, False}
    for entry in entries:
        assert split(entry.command_line).count(WORD) == (0 if entry.is_recovery else 1)
        words = [word for word in split(entry.command_line) if word != WORD]
        assert tuple(words) == split(before[entry.place].command_line)
    assert WORD in linux_line(bed.menu.decode())
    assert bed.bootloader.plan(bed.machine, SETTINGS).is_empty
    bed.set({"ttm.pages_limit": None})
    assert {path: path.read_bytes() for path in bed.root.rglob("*") if path.is_file()} == files


def test_grub_real_words_are_those_of_the_menu(make_bed: Callable[[str], Bed]) -> None:
    bed = make_bed(BASES["single-quotes"])
    bed.set({**SETTINGS, "iommu": "pt"})
    words = bed.bootloader.words(bed.machine)
    assert words is not None
    texts = [word.text for word in words]
    assert texts == ["quiet", "splash", "loglevel=3", WORD, "iommu=pt"]
    normal = [entry for entry in bed.entries() if not entry.is_recovery]
    assert len(normal) == 2
    for entry in normal:
        assert list(split(entry.command_line))[-len(texts) :] == texts


def test_grub_real_drop_in_with_a_syntax_error_leaves_the_old_menu(make_bed: Callable[[str], Bed]) -> None:
    bed = make_bed(BASES["debian"])
    menu = bed.menu
    bed.write("etc/default/grub.d/95-broken.cfg", 'GRUB_CMDLINE_LINUX="quiet\n')
    status, _ = bed.run("update-grub")
    assert status != 0
    assert bed.menu == menu
    if isinstance(bed.bootloader, GrubDropIn):
        (obstacle,) = bed.bootloader.plan(bed.machine, SETTINGS).obstacles
        assert obstacle.startswith("/etc/default/grub.d/95-broken.cfg:1: a quote that is not closed")


def test_grub_real_leaves_the_machines_own_folders_alone(make_bed: Callable[[str], Bed]) -> None:
    own = [Path("/etc/default/grub.d/90-greenboost.cfg"), Path("/boot/grub/grub.cfg")]
    before = [path.exists() and path.read_bytes() for path in own]
    make_bed(BASES["debian"]).set(dict(SETTINGS))
    assert [path.exists() and path.read_bytes() for path in own] == before
