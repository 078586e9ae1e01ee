"""Unified kernel images, by mkinitcpio and by dracut: where the line comes from, and what must not be written."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from boot_machines import argvs, edits, efi_variable, machine
from trees import Files

from greenboost_py.kernel_params.bootloaders.uki_dracut import UkiDracut
from greenboost_py.kernel_params.bootloaders.uki_mkinitcpio import UkiMkinitcpio
from greenboost_py.kernel_params.cmdline_file import MARK
from greenboost_py.kernel_params.plan import Plan

SET = {"ttm.pages_limit": "25165824"}
OURS = f"{MARK}ttm.pages_limit=25165824\n"

PRESET = """PRESETS=('default' 'fallback')
ALL_kver="/boot/vmlinuz-linux"
default_uki="/efi/EFI/Linux/arch-linux.efi"
#fallback_uki="/efi/EFI/Linux/arch-linux-fallback.efi"
fallback_image="/boot/initramfs-linux-fallback.img"
"""
ARCH = {"usr/bin/mkinitcpio": "", "etc/mkinitcpio.d/linux.preset": PRESET}
DROP_INS = {"etc/cmdline.d/root.conf": "root=x\n", "etc/cmdline.d/zz.conf": "# iommu=off\nquiet\n"}
CMDLINE = {"etc/kernel/cmdline": "root=x quiet\n"}

DRACUT = {
    "usr/bin/dracut": "",
    "etc/dracut.conf": "# nothing\n",
    "etc/dracut.conf.d/10-uefi.conf": 'uefi="yes"\nkernel_cmdline="root=x quiet"\n',
}
DRACUT_OURS = f'{MARK}kernel_cmdline+=" ttm.pages_limit=25165824 "\n'


@pytest.mark.parametrize(
    ("files", "detected"),
    [
        ({}, True),
        (efi_variable("StubInfo", "systemd-stub 256"), True),
        (efi_variable("LoaderInfo", "systemd-boot 256"), False),  # it booted something, and no stub did
        (efi_variable("LoaderInfo", "GRUB 2.12"), False),
        (efi_variable("LoaderInfo", "systemd-boot 256") | efi_variable("StubInfo", "systemd-stub 256"), True),
        ({"usr/bin/mkinitcpio": None}, False),
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=('default')\ndefault_image=/x.img\n"}, False),
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=(a)\na_efi_image=/efi/x.efi\n"}, True),
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=(a)\nALL_uki=/efi/x.efi\n"}, True),
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=(a)\nb_uki=/efi/x.efi\n"}, False),
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=(a)\na_uki=$(cat /x)\n"}, True),  # an image, whatever its name
        ({"etc/mkinitcpio.d/linux.preset": "PRESETS=($(cat /x))\n"}, False),
    ],
)
def test_uki_mkinitcpio_detect_goes_by_the_presets_and_the_stub(tmp_path: Path, files: Files, detected: bool) -> None:
    assert (UkiMkinitcpio().detect(machine(tmp_path, ARCH, DROP_INS, files)) is not None) is detected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (DROP_INS, {"etc/cmdline.d/90-greenboost.conf": OURS}),
        (DROP_INS | {"etc/cmdline.d/90-greenboost.conf": f"{MARK}iommu=pt\n"},
         {"etc/cmdline.d/90-greenboost.conf": f"{MARK}iommu=pt ttm.pages_limit=25165824\n"}),
        (CMDLINE, {"etc/kernel/cmdline": "root=x quiet ttm.pages_limit=25165824\n"}),
        ({"usr/lib/kernel/cmdline": "root=v\n"}, {"etc/kernel/cmdline": "root=v ttm.pages_limit=25165824\n"}),
        (
            {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_options='-S x --cmdline /etc/my'\n", "etc/my": "root=x"}
            | DROP_INS | CMDLINE,
            {"etc/my": "root=x ttm.pages_limit=25165824"},
        ),
        (
            {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_options=(-S x --cmdline=/etc/my)\n", "etc/my": "root=x"},
            {"etc/my": "root=x ttm.pages_limit=25165824"},
        ),
        (
            {"etc/mkinitcpio.d/linux.preset": f"{PRESET}ALL_cmdline=/etc/kernel/cmdline\n"} | DROP_INS | CMDLINE,
            {"etc/kernel/cmdline": "root=x quiet ttm.pages_limit=25165824\n"},
        ),
        (
            {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=/etc/cmdline.d/\n"} | DROP_INS | CMDLINE,
            {"etc/cmdline.d/90-greenboost.conf": OURS},
        ),
    ],
)  # fmt: skip
def test_uki_mkinitcpio_plan_writes_where_the_line_comes_from(
    tmp_path: Path, files: Files, expected: dict[str, str]
) -> None:
    plan = UkiMkinitcpio().plan(machine(tmp_path, ARCH, files), SET)
    assert edits(plan) == expected
    assert argvs(plan) == ["mkinitcpio -P"]
    assert plan.undo_commands == plan.commands
    assert "signed again" in plan.commands[0].purpose


@pytest.mark.parametrize(
    ("files", "asked", "text"),
    [
        ({}, SET, "/etc/kernel/cmdline: is not there"),
        (DROP_INS | CMDLINE, SET, "both there"),
        (DROP_INS | {"etc/cmdline.d/a.conf": "iommu=off"}, {"iommu": None}, "/etc/cmdline.d/a.conf:1: iommu=off"),
        (DROP_INS | {"etc/cmdline.d/a.conf": "iommu=off"}, {"iommu": "pt"}, "/etc/cmdline.d/a.conf:1: iommu=off"),
        (DROP_INS | {"etc/cmdline.d/90-greenboost.conf": "caf\udce9"}, SET, "UTF-8"),
        (CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_options=--no-cmdline\n"}, SET, "--no-cmdline"),
        (CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_options=$(x)\n"}, SET, "cannot be known"),
        (
            CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=/etc/my\n"},
            SET,
            "/etc/my: is not there",
        ),
        (CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=/etc/kernel\n"}, SET, "is a folder"),
        (CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=my\n"}, SET, "plain path"),
        (CMDLINE | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=/etc/../x\n"}, SET, "plain path"),
        (
            CMDLINE
            | {"etc/mkinitcpio.d/linux.preset": f"{PRESET}default_cmdline=/a\ndefault_options='--cmdline /b'\n"},
            SET,
            "several files",
        ),
    ],
)
def test_uki_mkinitcpio_plan_of_what_cannot_be_told_is_refused_with_a_line(
    tmp_path: Path, files: Files, asked: Mapping[str, str | None], text: str
) -> None:
    plan = UkiMkinitcpio().plan(machine(tmp_path, ARCH, files), asked)
    assert len(plan.obstacles) == 1
    assert text in plan.obstacles[0]
    assert not (plan.edits or plan.commands)


def test_uki_mkinitcpio_plan_takes_the_drop_in_away_with_its_last_word(tmp_path: Path) -> None:
    here = machine(tmp_path, ARCH, DROP_INS, {"etc/cmdline.d/90-greenboost.conf": OURS})
    assert UkiMkinitcpio().plan(here, SET) == Plan()
    plan = UkiMkinitcpio().plan(here, {"ttm.pages_limit": None, "iommu": None})
    assert edits(plan) == {"etc/cmdline.d/90-greenboost.conf": None}
    assert argvs(plan) == ["mkinitcpio -P"]


def test_uki_mkinitcpio_plan_never_leaves_our_words_alone_in_place_of_the_running_line(tmp_path: Path) -> None:
    running = {"proc/cmdline": "root=x quiet\n"} | {"etc/cmdline.d/README": "no .conf"}
    here = machine(tmp_path, ARCH, running, is_live=True)
    assert edits(UkiMkinitcpio().plan(here, SET)) == {"etc/kernel/cmdline": "root=x quiet ttm.pages_limit=25165824\n"}


def test_uki_mkinitcpio_words_tell_the_files_they_are_in(tmp_path: Path) -> None:
    words = UkiMkinitcpio().words(machine(tmp_path, ARCH, DROP_INS))
    assert words is not None
    assert [(word.text, word.place) for word in words] == [
        ("root=x", "/etc/cmdline.d/root.conf:1"),
        ("quiet", "/etc/cmdline.d/zz.conf:2"),
    ]


@pytest.mark.parametrize(
    ("files", "detected"),
    [
        ({}, True),
        (efi_variable("LoaderInfo", "GRUB 2.12"), False),
        ({"usr/bin/dracut": None}, False),
        ({"etc/dracut.conf.d/20-no.conf": "uefi=no\n"}, False),
        ({"etc/dracut.conf.d/10-uefi.conf": None, "usr/lib/dracut/dracut.conf.d/uefi.conf": "uefi=yes\n"}, True),
        ({"usr/lib/dracut/dracut.conf.d/10-uefi.conf": "uefi=yes\n", "etc/dracut.conf.d/10-uefi.conf": ""}, False),
        ({"etc/dracut.conf.d/10-uefi.conf": None, "etc/dracut.conf": "uefi=yes\n"}, True),
    ],
)
def test_uki_dracut_detect_goes_by_the_configuration(tmp_path: Path, files: Files, detected: bool) -> None:
    assert (UkiDracut().detect(machine(tmp_path, DRACUT, files)) is not None) is detected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"etc/dracut.conf.d/90-greenboost.conf": DRACUT_OURS}),
        ({"etc/dracut.conf.d/cmdline.conf": 'kernel_cmdline+=" ro "\n'},
         {"etc/dracut.conf.d/90-greenboost.conf": DRACUT_OURS}),
        ({"etc/dracut.conf.d/cmdline.conf": 'kernel_cmdline="root=y"\n'},
         {"etc/dracut.conf.d/zz-greenboost.conf": DRACUT_OURS}),
        ({"etc/dracut.conf.d/90-greenboost.conf": f'{MARK}kernel_cmdline+=" iommu=pt "\n'},
         {"etc/dracut.conf.d/90-greenboost.conf": f'{MARK}kernel_cmdline+=" iommu=pt ttm.pages_limit=25165824 "\n'}),
        ({"etc/dracut.conf.d/zz-greenboost.conf": f'{MARK}kernel_cmdline+=" iommu=pt "\n'},
         {"etc/dracut.conf.d/zz-greenboost.conf": f'{MARK}kernel_cmdline+=" iommu=pt ttm.pages_limit=25165824 "\n'}),
        ({"etc/dracut.conf.d/10-uefi.conf": 'uefi="yes"\nkernel_cmdline+=" root=x ttm.pages_limit=5 "\n'},
         {"etc/dracut.conf.d/90-greenboost.conf": DRACUT_OURS}),
    ],
)  # fmt: skip
def test_uki_dracut_plan_adds_to_the_line_where_it_is_not_overridden(
    tmp_path: Path, files: Files, expected: dict[str, str]
) -> None:
    here = machine(tmp_path, DRACUT, files)
    plan = UkiDracut().plan(here, SET)
    assert edits(plan) == expected
    assert argvs(plan) == ["dracut --regenerate-all --force"]
    for path, text in expected.items():
        (tmp_path / path).write_text(text)
    assert UkiDracut().plan(here, SET) == Plan()


@pytest.mark.parametrize(
    ("files", "asked", "text"),
    [
        ({"etc/dracut.conf.d/10-uefi.conf": "uefi=yes\n"}, SET, "nothing there sets kernel_cmdline"),
        ({"etc/dracut.conf.d/10-uefi.conf": "uefi=yes\n", "etc/dracut.conf.d/90-greenboost.conf": DRACUT_OURS},
         {"iommu": "pt"}, "nothing there sets kernel_cmdline"),
        ({"etc/dracut.conf.d/zzz.conf": 'kernel_cmdline="root=y"\n'}, SET, "is read after it"),
        ({"etc/dracut.conf.d/a.conf": 'kernel_cmdline+=" iommu=off "\n'}, {"iommu": None},
         "/etc/dracut.conf.d/a.conf:1: iommu=off"),
        ({"etc/dracut.conf.d/a.conf": 'kernel_cmdline+=" iommu=off "\n'}, {"iommu": "pt"},
         "/etc/dracut.conf.d/a.conf:1: iommu=off"),
        ({"etc/dracut.conf.d/a.conf": 'kernel_cmdline="$(cat /x)"\n'}, SET, "/etc/dracut.conf.d/a.conf:1"),
        ({}, {"x.y": "a$(reboot)"}, "mean something to a shell"),
        ({}, {"x.y": 'a"b'}, "mean something to a shell"),
    ],
)  # fmt: skip
def test_uki_dracut_plan_of_what_cannot_be_told_is_refused_with_a_line(
    tmp_path: Path, files: Files, asked: Mapping[str, str | None], text: str
) -> None:
    plan = UkiDracut().plan(machine(tmp_path, DRACUT, files), asked)
    assert len(plan.obstacles) == 1
    assert text in plan.obstacles[0]
    assert not (plan.edits or plan.commands)


def test_uki_dracut_plan_takes_the_drop_in_away_with_its_last_word(tmp_path: Path) -> None:
    here = machine(tmp_path, DRACUT, {"etc/dracut.conf.d/90-greenboost.conf": DRACUT_OURS})
    assert edits(UkiDracut().plan(here, {"ttm.pages_limit": None})) == {"etc/dracut.conf.d/90-greenboost.conf": None}


def test_uki_dracut_entries_are_those_of_this_system(tmp_path: Path) -> None:
    own, other = "9f4a51c0b5e04a6bb0f5b7c3a1d2e3f4", "0123456789abcdef0123456789abcdef"
    names = (f"linux-6.1-{own}", f"linux-6.1-{other}", f"linux-6.10-{own}", "linux-6.1", "linux-6.1-9", "windows")
    files = {f"efi/EFI/Linux/{name}.efi": "MZ" for name in names}
    here = machine(tmp_path, DRACUT, {"etc/machine-id": f"{own}\n", "lib/modules/6.1/x": ""})
    assert UkiDracut().entries(here) == ()
    stub = Path(__file__).parents[2] / "bootloaders/arch-uki-kernel-cmdline/root/efi/EFI/Linux/arch-linux.efi"
    machine(tmp_path, files)
    for name in names:
        (tmp_path / f"efi/EFI/Linux/{name}.efi").write_bytes(stub.read_bytes())
    found = UkiDracut().entries(here)
    assert found is not None
    assert [one.place for one in found] == [
        "/efi/EFI/Linux/linux-6.1-9.efi",
        f"/efi/EFI/Linux/linux-6.1-{own}.efi",
        "/efi/EFI/Linux/linux-6.1.efi",
    ]
