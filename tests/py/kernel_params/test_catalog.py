"""The list of mechanisms: their order, what is found, and when there is a doubt."""

import shutil
from pathlib import Path

import pytest
from boot_machines import efi_variable
from trees import lay

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.bootloaders.catalog import BOOTLOADERS, Found, find, named
from greenboost_py.kernel_params.machine import Machine

TREES = Path(__file__).parents[2] / "bootloaders"

NAMES = [
    "nixos", "rpm-ostree", "proxmox-systemd-boot", "proxmox-grub", "kernelstub", "limine", "sdbootutil",
    "uki-mkinitcpio", "uki-dracut", "grubby", "kernel-install", "loader-entries", "grub-drop-in", "grub", "modprobe",
]  # fmt: skip


def copy(tree: str, folder: Path) -> Path:
    root = folder / "root"
    shutil.copytree(TREES / tree / "root", root, symlinks=True)
    return root


def found_in(root: Path, *, is_live: bool = False) -> Found:
    return find(Machine(SysRoot(root), is_live))


def name_of(found: Found) -> str | None:
    return None if found.bootloader is None else found.bootloader.name


def test_bootloaders_are_in_the_order_of_detection() -> None:
    assert [one.name for one in BOOTLOADERS] == NAMES


@pytest.mark.parametrize("bootloader", BOOTLOADERS, ids=lambda one: one.name)
def test_bootloader_has_a_title_and_can_be_named(bootloader: object) -> None:
    one = next(one for one in BOOTLOADERS if one is bootloader)
    assert named(one.name) is one
    assert one.title
    assert one.title != one.name
    assert one.writes is (one.name != "nixos")


@pytest.mark.parametrize("name", ["", "GRUB", "grub ", "sed", "../grub", "none"])
def test_named_with_a_name_that_is_none_is_none(name: str) -> None:
    assert named(name) is None


@pytest.mark.parametrize("bootloader", BOOTLOADERS, ids=lambda one: one.name)
@pytest.mark.parametrize("is_live", [False, True])
def test_detect_in_an_empty_tree_is_none(bootloader: object, is_live: bool, tmp_path: Path) -> None:
    one = next(one for one in BOOTLOADERS if one is bootloader)
    assert one.detect(Machine(SysRoot(tmp_path), is_live)) is None


def test_find_in_an_empty_tree_says_what_was_looked_for(tmp_path: Path) -> None:
    found = found_in(tmp_path)
    assert found.bootloader is None
    assert "no boot loader was found" in found.evidence
    assert (found.others, found.doubt) == ((), None)


@pytest.mark.parametrize("mark", ["run/systemd/container", "run/.containerenv", ".dockerenv"])
def test_find_in_a_container_is_none(mark: str, tmp_path: Path) -> None:
    root = copy("fedora-bls", tmp_path)
    lay(root, {mark: ""})
    found = found_in(root)
    assert found.bootloader is None
    assert "container" in found.evidence


def test_find_with_several_matches_tells_of_the_others(tmp_path: Path) -> None:
    root = copy("fedora-bls", tmp_path)
    lay(root, {"etc/NIXOS": ""})
    found = found_in(root)
    assert name_of(found) == "nixos"
    assert [name for name, _ in found.others] == ["grubby"]
    assert found.doubt is None  # who owns the whole system owns its boot loader


def test_find_of_modprobe_never_happens() -> None:
    trees = [path.name for path in TREES.iterdir() if path.is_dir()]
    assert trees
    assert all(name_of(found_in(TREES / name / "root")) != "modprobe" for name in trees)


@pytest.mark.parametrize(
    ("tree", "said", "is_doubtful"),
    [
        ("fedora-bls", "GRUB 2.12", False),
        ("fedora-bls", "systemd-boot 257.9-1.fc42", True),
        ("fedora-bls", "rEFInd 0.14.2", True),
        ("fedora-bls", "\x1b[31mhostile\n", True),
        ("fedora-bls", "", False),
        ("pop-os", "GRUB 2.06", True),
        ("pop-os", "systemd-boot 249.11", False),
        ("cachyos-limine", "systemd-boot 257", True),
        ("cachyos-limine", "Limine 10.3.0", False),
        ("opensuse-sdbootutil", "GRUB 2.12", False),
        ("opensuse-sdbootutil", "Limine 9", True),
        ("nixos", "Limine 9", False),
        ("bazzite-ostree", "systemd-boot 257", False),
        ("ambiguous-grub-and-systemd-boot", "systemd-boot 252.31-1~deb12u1", False),
    ],
)
def test_find_doubts_a_mechanism_whose_boot_loader_did_not_boot(
    tree: str, said: str, is_doubtful: bool, tmp_path: Path
) -> None:
    root = copy(tree, tmp_path)
    lay(root, efi_variable("LoaderInfo", said))
    found = found_in(root)
    assert (found.doubt is not None) is is_doubtful
    assert found.doubt is None or (found.doubt.isprintable() and "LoaderInfo" in found.doubt)


def test_find_with_grub_booted_and_systemd_boot_left_over_finds_grub(tmp_path: Path) -> None:
    root = copy("ambiguous-grub-and-systemd-boot", tmp_path)
    lay(root, efi_variable("LoaderInfo", "GRUB 2.12"))
    found = found_in(root)
    assert name_of(found) == "grub-drop-in"
    assert found.doubt is None


@pytest.mark.parametrize(("tree", "is_doubtful"), [("fedora-bls", True), ("bazzite-ostree", True), ("pop-os", False)])
def test_find_doubts_a_booted_image_of_an_unknown_generator(tree: str, is_doubtful: bool, tmp_path: Path) -> None:
    root = copy(tree, tmp_path)
    lay(root, efi_variable("StubInfo", "systemd-stub 257.9"))
    shutil.rmtree(root / "usr/bin/dracut", ignore_errors=True)
    found = found_in(root)
    assert ("unified kernel image" in (found.doubt or "")) is is_doubtful


@pytest.mark.parametrize(
    ("said", "is_efi", "is_live", "names"),
    [
        ("systemd-boot 252", True, True, ["proxmox-systemd-boot"]),
        ("GRUB 2.12", True, True, ["proxmox-grub"]),
        (None, True, True, ["proxmox-grub"]),
        (None, False, True, ["proxmox-grub"]),
        (None, False, False, ["proxmox-systemd-boot", "proxmox-grub"]),
        ("Limine 9", True, True, []),
    ],
)
def test_proxmox_is_told_by_how_it_was_booted(
    said: str | None, is_efi: bool, is_live: bool, names: list[str], tmp_path: Path
) -> None:
    lay(tmp_path, {"etc/kernel/proxmox-boot-uuids": "A1B2-C3D4\n"})
    if is_efi:
        lay(tmp_path, {"sys/firmware/efi/efivars/.keep": ""})
    if said is not None:
        lay(tmp_path, efi_variable("LoaderInfo", said))
    found = found_in(tmp_path, is_live=is_live)
    assert [name for name in (name_of(found), *(name for name, _ in found.others)) if name] == names
    assert (found.doubt is not None) is (len(names) == 2)


def test_kernelstub_on_a_machine_without_uefi_is_not_found(tmp_path: Path) -> None:
    root = copy("pop-os", tmp_path)
    assert name_of(found_in(root, is_live=True)) == "kernelstub"
    shutil.rmtree(root / "sys")
    assert name_of(found_in(root, is_live=True)) != "kernelstub"


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ('LOADER_TYPE="systemd-boot"\n', True),
        ("LOADER_TYPE=grub2-bls\n", True),
        ('LOADER_TYPE="grub2-efi"\n', False),
        ('LOADER_TYPE="grub2"\n', False),
        ('LOADER_TYPE="grub2"\nLOADER_TYPE="systemd-boot"\n', True),
        ('#LOADER_TYPE="grub2"\n', True),
        ("", True),
    ],
)
def test_sdbootutil_is_found_only_where_it_keeps_the_entries(text: str, is_found: bool, tmp_path: Path) -> None:
    root = copy("opensuse-sdbootutil", tmp_path)
    lay(root, {"etc/sysconfig/bootloader": text})
    assert (name_of(found_in(root)) == "sdbootutil") is is_found


def test_grubby_without_grub_is_not_found(tmp_path: Path) -> None:
    root = copy("fedora-bls", tmp_path)
    shutil.rmtree(root / "boot/grub2")
    assert name_of(found_in(root)) != "grubby"


def test_limine_without_its_tool_is_not_found(tmp_path: Path) -> None:
    root = copy("cachyos-limine", tmp_path)
    (root / "usr/bin/limine-update").unlink()
    assert name_of(found_in(root)) != "limine"
