"""systemd-boot, by kernel-install and by hand: what is detected, what is planned, and what is refused."""

from pathlib import Path

import pytest
from boot_machines import argvs, edits, efi_variable, machine
from trees import Files

from greenboost_py.kernel_params.bootloaders.kernel_install import KernelInstall
from greenboost_py.kernel_params.bootloaders.loader_entries import LoaderEntries
from greenboost_py.kernel_params.plan import Plan

ID = "9f4a51c0b5e04a6bb0f5b7c3a1d2e3f4"
OTHER_ID = "0123456789abcdef0123456789abcdef"
SET = {"ttm.pages_limit": "25165824"}

MADE = {
    "etc/machine-id": f"{ID}\n",
    "usr/bin/kernel-install": "",
    "usr/lib/modules/6.1.0/vmlinuz": "",
    "boot/loader/loader.conf": "timeout 3\n",
    f"boot/loader/entries/{ID}-6.1.0.conf": f"machine-id {ID}\noptions root=x quiet\nlinux /x\n",
    "etc/kernel/cmdline": "root=x quiet\n",
}
"""A system with one kernel, whose entry kernel-install made."""

BY_HAND = {
    "etc/machine-id": f"{ID}\n",
    "boot/loader/loader.conf": "default arch.conf\n",
    "boot/loader/entries/arch.conf": "title Arch\nlinux /vmlinuz-linux\noptions root=LABEL=arch rw\n",
}


@pytest.mark.parametrize(
    ("files", "is_live", "detected"),
    [
        ({}, False, True),
        (efi_variable("LoaderInfo", "systemd-boot 252.39"), True, True),
        (efi_variable("LoaderInfo", "GRUB 2.12"), True, False),
        ({"sys/firmware/efi/efivars/x": ""}, True, True),
        ({}, True, False),  # booted by a BIOS: nothing reads such entries
        ({"usr/bin/kernel-install": None}, False, False),
        ({"boot/loader/loader.conf": None}, False, False),
        ({"usr/lib/modules/6.1.0/vmlinuz": None, "usr/lib/modules/6.2.0/vmlinuz": ""}, False, False),
        ({"etc/kernel/install.conf": "layout=bls\n"}, False, True),
        ({"etc/kernel/install.conf": "layout=other\n"}, False, False),
        ({"etc/kernel/install.conf": "", "usr/lib/kernel/install.conf": "layout=other\n"}, False, True),
        ({"usr/lib/kernel/install.conf": "layout=other\n"}, False, False),
        ({"etc/kernel/install.conf.d/x.conf": "layout=other\n"}, False, False),
    ],
)
def test_kernel_install_detect_goes_by_the_entries_and_the_loader(
    tmp_path: Path, files: Files, is_live: bool, detected: bool
) -> None:
    found = KernelInstall().detect(machine(tmp_path, MADE, files, is_live=is_live))
    assert (found is not None) is detected
    assert found is None or f"/boot/loader/entries/{ID}-6.1.0.conf" in found


def test_kernel_install_plan_edits_the_line_and_makes_each_entry_again(tmp_path: Path) -> None:
    more = {
        "usr/lib/modules/6.2.0/modules.dep": "",
        "boot/vmlinuz-6.2.0": "",
        f"boot/loader/entries/{ID}-6.2.0+3.conf": "options root=x quiet\nlinux /x\n",
        "usr/lib/modules/6.3.0/vmlinuz": "",  # has no entry: none is made
        "usr/lib/modules/6.4.0/modules.dep": "",  # has no image
        f"boot/loader/entries/{ID}-6.4.0.conf": "options root=x quiet\nlinux /x\n",
        f"boot/loader/entries/{OTHER_ID}-6.1.0.conf": "options root=y\nlinux /x\n",
    }
    plan = KernelInstall().plan(machine(tmp_path, MADE, more), SET)
    assert edits(plan) == {"etc/kernel/cmdline": "root=x quiet ttm.pages_limit=25165824\n"}
    assert argvs(plan) == [
        "kernel-install add 6.1.0 /usr/lib/modules/6.1.0/vmlinuz",
        "kernel-install add 6.2.0 /boot/vmlinuz-6.2.0",
    ]
    assert plan.undo_commands == plan.commands
    assert not (plan.obstacles or plan.tool_files or plan.restores)


def test_kernel_install_plan_for_what_is_there_is_empty(tmp_path: Path) -> None:
    here = machine(tmp_path, MADE, {"etc/kernel/cmdline": "root=x ttm.pages_limit=25165824\n"})
    assert KernelInstall().plan(here, SET | {"iommu": None}) == Plan()


def test_kernel_install_plan_of_none_takes_the_users_own_word_out(tmp_path: Path) -> None:
    here = machine(tmp_path, MADE, {"etc/kernel/cmdline": "root=x amd_iommu=off\nquiet amd_iommu=on\n"})
    assert edits(KernelInstall().plan(here, {"amd_iommu": None})) == {"etc/kernel/cmdline": "root=x\nquiet\n"}


def test_kernel_install_plan_without_a_file_begins_with_the_distributions(tmp_path: Path) -> None:
    files: dict[str, str | None] = {"etc/kernel/cmdline": None, "usr/lib/kernel/cmdline": "root=vendor ro\n"}
    plan = KernelInstall().plan(machine(tmp_path, MADE, files), SET)
    assert edits(plan) == {"etc/kernel/cmdline": "root=vendor ro ttm.pages_limit=25165824\n"}
    assert plan.edits[0].before is None


def test_kernel_install_plan_without_a_file_begins_with_the_running_line_of_a_live_system(tmp_path: Path) -> None:
    running = {"proc/cmdline": "initrd=\\x\\initrd BOOT_IMAGE=/x root=x quiet\n", "etc/kernel/cmdline": None}
    here = machine(tmp_path, MADE, efi_variable("LoaderInfo", "systemd-boot 256"), running, is_live=True)
    assert edits(KernelInstall().plan(here, SET)) == {"etc/kernel/cmdline": "root=x quiet ttm.pages_limit=25165824\n"}
    words = KernelInstall().words(here)
    assert words is not None
    assert [(word.text, word.place) for word in words] == [("root=x", "/proc/cmdline"), ("quiet", "/proc/cmdline")]


def test_kernel_install_plan_without_a_file_of_another_system_is_refused(tmp_path: Path) -> None:
    here = machine(tmp_path, MADE, {"etc/kernel/cmdline": None, "proc/cmdline": "root=of-the-host\n"})
    plan = KernelInstall().plan(here, SET)
    assert len(plan.obstacles) == 1
    assert plan.obstacles[0].startswith("/etc/kernel/cmdline: is not there")
    assert not plan.edits
    assert KernelInstall().words(here) is None
    assert KernelInstall().plan(here, {"ttm.pages_limit": None}) == Plan()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"etc/kernel/cmdline": "root=caf\udce9"}, "not UTF-8"),
        ({"etc/kernel/cmdline": "root=x\0y"}, "NUL"),
        ({"etc/kernel/cmdline": 'root=x a="b'}, "quote"),
        ({"etc/kernel/cmdline": "root=x\n# ttm.pages_limit=1\n"}, "comment"),
        ({"etc/kernel/install.conf": "layout=uki\nuki_generator=dracut\n"}, "/etc/dracut.conf.d"),
        (
            {"etc/kernel/install.conf": "layout=uki\nuki_generator=mkinitcpio\n", "etc/cmdline.d/a.conf": "a"},
            "/etc/cmdline.d",
        ),
        ({"etc/kernel/install.conf": "layout=$(cat /x)\n"}, "cannot be known"),
        ({"usr/lib/modules/6.1.0/vmlinuz": None, "usr/lib/modules/6.1.0/x": ""}, "no kernel of this system"),
        ({"boot/loader/entries/y.conf": "options \udcff\nlinux /x"}, "/boot/loader/entries/y.conf: not UTF-8"),
    ],
)
def test_kernel_install_plan_of_what_cannot_be_told_is_refused_with_a_line(
    tmp_path: Path, files: Files, text: str
) -> None:
    plan = KernelInstall().plan(machine(tmp_path, MADE, files), SET)
    assert len(plan.obstacles) == 1
    assert text in plan.obstacles[0]
    assert not (plan.edits or plan.commands)


def test_kernel_install_plan_of_a_link_is_refused(tmp_path: Path) -> None:
    here = machine(tmp_path, MADE, {"etc/kernel/cmdline": None, "etc/other": "root=x\n"})
    (tmp_path / "etc/kernel").mkdir(parents=True)
    (tmp_path / "etc/kernel/cmdline").symlink_to("../other")
    plan = KernelInstall().plan(here, SET)
    assert "symbolic link" in plan.obstacles[0]


@pytest.mark.parametrize("name", ["-rf", "6.1 0", "6.1;x", "6.1\n0", "6.1'0"])
def test_kernel_install_plan_never_hands_a_hostile_release_to_the_tool(tmp_path: Path, name: str) -> None:
    more = {f"usr/lib/modules/{name}/vmlinuz": "", f"boot/loader/entries/{ID}-{name}.conf": "linux /x\noptions a\n"}
    assert argvs(KernelInstall().plan(machine(tmp_path, MADE, more), SET)) == [
        "kernel-install add 6.1.0 /usr/lib/modules/6.1.0/vmlinuz"
    ]


def test_kernel_install_entries_elsewhere_are_found_by_install_conf(tmp_path: Path) -> None:
    files: dict[str, str | None] = {
        f"boot/loader/entries/{ID}-6.1.0.conf": None,
        "etc/kernel/install.conf": "BOOT_ROOT=/mnt/esp\n",
        f"mnt/esp/loader/entries/{ID}-6.1.0.conf": "options root=x quiet\nlinux /x\n",
    }
    here = machine(tmp_path, MADE, files)
    assert KernelInstall().detect(here)
    found = KernelInstall().entries(here)
    assert found is not None
    assert [(one.place, one.command_line) for one in found] == [
        (f"/mnt/esp/loader/entries/{ID}-6.1.0.conf", "root=x quiet")
    ]


@pytest.mark.parametrize(
    ("files", "is_live", "detected"),
    [
        ({}, False, True),
        ({"boot/loader/loader.conf": None}, False, False),
        ({"boot/loader/loader.conf": None, **efi_variable("LoaderInfo", "systemd-boot 256.7")}, True, True),
        (efi_variable("LoaderInfo", "GRUB 2.12"), True, False),
        ({}, True, False),
        ({"boot/loader/entries/arch.conf": None}, False, False),
        ({"boot/loader/entries/arch.conf": "title Windows\nefi /x.efi\n"}, False, False),
    ],
)
def test_loader_entries_detect_goes_by_the_entries_and_the_loader(
    tmp_path: Path, files: Files, is_live: bool, detected: bool
) -> None:
    found = LoaderEntries().detect(machine(tmp_path, BY_HAND, files, is_live=is_live))
    assert (found is not None) is detected


def test_loader_entries_plan_edits_each_entry_of_this_system_and_runs_nothing(tmp_path: Path) -> None:
    more = {
        "boot/loader/entries/arch-fallback.conf": "linux /vmlinuz-linux\noptions root=LABEL=arch rw single\n",
        "boot/loader/entries/done.conf": "linux /x\noptions root=LABEL=arch ttm.pages_limit=25165824\n",
        "boot/loader/entries/windows.conf": "efi /x.efi\noptions root=LABEL=arch\n",
        "boot/loader/entries/other.conf": f"machine-id {OTHER_ID}\nlinux /x\noptions root=LABEL=arch\n",
    }
    plan = LoaderEntries().plan(machine(tmp_path, BY_HAND, more), SET)
    assert edits(plan) == {
        "boot/loader/entries/arch-fallback.conf": (
            "linux /vmlinuz-linux\noptions root=LABEL=arch rw single ttm.pages_limit=25165824\n"
        ),
        "boot/loader/entries/arch.conf": (
            "title Arch\nlinux /vmlinuz-linux\noptions root=LABEL=arch rw ttm.pages_limit=25165824\n"
        ),
    }
    assert not (plan.commands or plan.undo_commands or plan.obstacles)


@pytest.mark.parametrize(
    ("evidence", "is_live"),
    [
        ({"etc/fstab": "# UUID=x / ext4\nLABEL=arch / ext4 rw 0 1\n"}, False),
        ({"proc/cmdline": "root=LABEL=arch rw\n", "etc/fstab": "UUID=1 / ext4 rw 0 1\n"}, True),
    ],
)
def test_loader_entries_plan_leaves_the_entries_of_another_system(
    tmp_path: Path, evidence: dict[str, str | None], is_live: bool
) -> None:
    other = {"boot/loader/entries/a.conf": "linux /x\noptions root=LABEL=other rw\n"}
    here = machine(tmp_path, BY_HAND, other, evidence, efi_variable("LoaderInfo", "systemd-boot 256"), is_live=is_live)
    assert list(edits(LoaderEntries().plan(here, SET))) == ["boot/loader/entries/arch.conf"]
    found = LoaderEntries().entries(here)
    assert found is not None
    assert [one.place for one in found] == ["/boot/loader/entries/arch.conf"]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"boot/loader/entries/a.conf": "linux /x\noptions root=LABEL=other rw\n"}, "different root"),
        ({"boot/loader/entries/a.conf": "linux /x\noptions rw\n"}, "different root"),
        ({"boot/loader/entries/arch.conf": f"machine-id {OTHER_ID}\nlinux /x\n"}, "no entry of this system"),
        ({"boot/loader/entries/arch.conf": "linux /x\noptions $kernelopts\n"}, "variable"),
        ({"boot/loader/entries/arch.conf": 'linux /x\noptions "root=x"\n'}, "quotes"),
        ({"boot/loader/entries/a.conf": "linux /x\noptions root=LABEL=arch \0\n"}, "NUL"),
    ],
)
def test_loader_entries_plan_of_what_cannot_be_told_is_refused_with_a_line(
    tmp_path: Path, files: Files, text: str
) -> None:
    plan = LoaderEntries().plan(machine(tmp_path, BY_HAND, files), SET)
    assert len(plan.obstacles) == 1
    assert text in plan.obstacles[0]
    assert not plan.edits


def test_loader_entries_plan_of_a_link_is_refused(tmp_path: Path) -> None:
    here = machine(tmp_path, BY_HAND)
    (tmp_path / "boot/loader/entries/b.conf").symlink_to("arch.conf")
    assert "symbolic link" in LoaderEntries().plan(here, SET).obstacles[0]


@pytest.mark.parametrize(
    ("default", "word"), [("b.conf", "b"), ("b", "b"), ("?.conf", "a"), ("none", "a"), ("a\ndefault b.*", "b")]
)
def test_loader_entries_words_are_those_of_the_entry_that_is_booted_by_default(
    tmp_path: Path, default: str, word: str
) -> None:
    files = {f"boot/loader/entries/{name}.conf": f"linux /x\noptions root=LABEL=arch {name}\n" for name in "ab"}
    conf = {"boot/loader/loader.conf": f"timeout 3\ndefault  {default}\n", "boot/loader/entries/arch.conf": None}
    words = LoaderEntries().words(machine(tmp_path, BY_HAND, files, conf))
    assert words is not None
    assert [(one.text, one.place) for one in words] == [
        ("root=LABEL=arch", f"/boot/loader/entries/{word}.conf:2"),
        (word, f"/boot/loader/entries/{word}.conf:2"),
    ]
