from pathlib import Path

import pytest
from trees import lay

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.kernel_params.facts import Facts, Iommu, kernel_version, read_facts
from greenboost_py.kernel_params.machine import Machine
from greenboost_py.kernel_params.modprobe_d import Option

RELEASE = "6.12.48-amd64"

APU = {
    "proc/sys/kernel/osrelease": f"{RELEASE}\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro quiet ttm.pages_limit=25165824 -- single\n",
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\n",
    "proc/meminfo": "MemTotal:       131072000 kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\n",
    "proc/stat": "cpu  1 2 3\nbtime 1763700000\nprocesses 5\n",
    "sys/module/ttm/initstate": "live\n",
    "sys/module/ttm/parameters/pages_limit": "25165824\n",
    "sys/module/ttm/parameters/page_pool_size": "16384000\n",
    "sys/module/ttm/holders/amdgpu": "",
    "sys/module/ttm/holders/drm_ttm_helper": "",
    "sys/module/amdgpu/initstate": "live\n",
    "sys/module/amdgpu/parameters/gttsize": "-1\n",
    "sys/module/amdgpu/parameters/no_system_mem_limit": "N\n",
    "sys/module/amdgpu/parameters/gartsize": "4294967295\n",
    "sys/class/iommu/ivhd0/amd-iommu/cap": "100\n",
    "sys/kernel/iommu_groups/0/type": "DMA\n",
    "sys/kernel/iommu_groups/1/type": "DMA-FQ\n",
    "sys/kernel/iommu_groups/2/type": "identity\n",
    "sys/class/drm/card1/device/mem_info_vram_total": "536870912\n",
    "sys/class/drm/card1/device/mem_info_vram_used": "100000000\n",
    "sys/class/drm/card1/device/mem_info_vis_vram_total": "536870912\n",
    "sys/class/drm/card1/device/mem_info_vis_vram_used": "100000000\n",
    "sys/class/drm/card1/device/mem_info_gtt_total": "103079215104\n",
    "sys/class/drm/card1/device/mem_info_gtt_used": "5000000\n",
    "sys/class/drm/card1/device/gpu_busy_percent": "3\n",
    "sys/class/drm/card1/device/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:c4:00.0\n",
    f"usr/lib/modules/{RELEASE}/modules.builtin": "kernel/drivers/char/random.ko\n",
    f"usr/lib/modules/{RELEASE}/modules.symbols": "# Aliases\nalias symbol:ttm_tt_pages_limit ttm\n",
    "etc/modprobe.d/ttm.conf": "# by amd-ttm\noptions ttm pages_limit=24379392\n",
}


def machine(root: Path, files: dict[str, str]) -> Machine:
    lay(root, files)
    return Machine(SysRoot(root), is_live=True)


def facts(root: Path, **changes: str | None) -> Facts:
    """Of the APU, where a file is changed, or with None left out; __ stands for a slash."""
    files = {**APU, **{path.replace("__", "/"): text for path, text in changes.items()}}
    return read_facts(machine(root, {path: text for path, text in files.items() if text is not None}))


def test_read_facts_of_an_apu_are_what_its_files_say(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found.errors == ()
    assert found.ram_total_bytes == 131072000 << 10
    assert (found.release, found.limit_sizes_gtt, found.cpu_vendor) == (RELEASE, True, "AMD")
    assert found.booted_at_s == 1763700000
    assert found.running == ("BOOT_IMAGE=/vmlinuz", "root=/dev/sda2", "ro", "quiet", "ttm.pages_limit=25165824")
    assert found.iommu == Iommu("translated", ("ivhd0",), {"DMA": 1, "DMA-FQ": 1, "identity": 1})
    assert found.options == (Option("ttm.pages_limit", "24379392", "/etc/modprobe.d/ttm.conf:2"),)
    assert [gpu.pci_address for gpu in found.apus] == ["0000:c4:00.0"]
    assert found.in_use == ("ttm",)
    ttm, amdttm, amdgpu = found.modules
    assert (ttm.is_loaded, ttm.is_builtin, ttm.is_added, ttm.number("pages_limit")) == (True, False, False, 25165824)
    assert (amdttm.is_loaded, amdttm.is_builtin, amdttm.is_added) == (False, False, False)
    assert (amdgpu.number("gttsize"), amdgpu.number("no_system_mem_limit")) == (-1, None)
    assert "gartsize" in amdgpu.keys


def test_read_facts_of_an_empty_tree_are_all_absent(tmp_path: Path) -> None:
    assert read_facts(Machine(SysRoot(tmp_path), is_live=False)) == Facts(is_live=False)


MALFORMED = {
    "proc/meminfo": "MemTotal: lots\n",
    "proc/stat": "btime -3\n",
    "sys/module/ttm/parameters/pages_limit": "-1\n",
    "sys/module/amdgpu/parameters/gttsize": "auto\n",
    "sys/class/drm/card1/device/mem_info_gtt_total": "x\n",
}


@pytest.mark.parametrize("path", MALFORMED)
def test_read_facts_with_a_malformed_file_has_the_rest(tmp_path: Path, path: str) -> None:
    found = facts(tmp_path, **{path: MALFORMED[path]})
    assert [error.path for error in found.errors] == [f"/{path}"]
    assert found.cpu_vendor == "AMD"
    assert found.module("ttm").number("page_pool_size") == 16384000


def test_read_facts_where_everything_is_malformed_names_every_file(tmp_path: Path) -> None:
    found = facts(tmp_path, **MALFORMED)
    assert {error.path for error in found.errors} == {f"/{path}" for path in MALFORMED}
    assert found.options != ()


@pytest.mark.parametrize("path", ["proc/cmdline", "sys/module/ttm/parameters/pages_limit", "etc/modprobe.d/a.conf"])
def test_read_facts_where_a_folder_stands_for_a_file_says_so(tmp_path: Path, path: str) -> None:
    (tmp_path / path).mkdir(parents=True)
    found = facts(tmp_path, **{path: None})
    assert [error.path for error in found.errors] == [f"/{path}"]


@pytest.mark.parametrize(
    ("types", "mode"),
    [
        ((), "off"),
        (("identity", "identity"), "pt"),
        (("identity", "DMA"), "translated"),
        (("DMA-FQ",), "translated"),
        (("identity", "unmanaged"), "pt"),
        (("unmanaged",), "translated"),
    ],
)
def test_read_facts_tells_the_iommu_mode_by_its_groups(tmp_path: Path, types: tuple[str, ...], mode: str) -> None:
    groups = {f"sys/kernel/iommu_groups/{number}/type": f"{kind}\n" for number, kind in enumerate(types)}
    found = read_facts(machine(tmp_path, {"sys/kernel/ostype": "", **groups}))
    assert found.iommu is not None
    assert found.iommu.mode == mode


@pytest.mark.parametrize(
    ("symbols", "release", "expected"),
    [
        ("alias symbol:ttm_tt_pages_limit ttm\n", "5.14.0-503.el9.x86_64", True),
        ("alias symbol:ttm_bo_put ttm\n", "6.1.0-40-amd64", False),
        ("alias symbol:ttm_bo_put ttm\n", "6.8.0-generic", False),
        ("alias symbol:snd_card_new snd\n", "6.4.16-200.fc38.x86_64", False),
        (None, "6.5.0-generic", True),
        (None, "7.1.0", True),
        (None, "6.4.12", False),
        (None, "5.15.0-100-generic", False),
        (None, "custom", None),
    ],
)
def test_read_facts_tells_what_sizes_gtt_by_the_symbol_then_by_the_version(
    tmp_path: Path, symbols: str | None, release: str, expected: bool | None
) -> None:
    files = {"proc/sys/kernel/osrelease": f"{release}\n", f"lib/modules/{release}/modules.builtin": ""}
    files |= {} if symbols is None else {f"lib/modules/{release}/modules.symbols": symbols}
    assert read_facts(machine(tmp_path, files)).limit_sizes_gtt is expected


def test_read_facts_of_a_module_in_the_kernel_is_built_in(tmp_path: Path) -> None:
    listed = f"lib/modules/{RELEASE}/modules.builtin"
    files = {
        "proc/sys/kernel/osrelease": RELEASE,
        listed: "kernel/drivers/gpu/drm/ttm/ttm.ko\n",
        "sys/module/ttm/parameters/pages_limit": "0\n",
    }
    found = read_facts(machine(tmp_path, files))
    assert found.module("ttm").is_builtin is True
    assert found.module("amdgpu").is_builtin is False
    assert found.module("ttm").is_loaded is True


@pytest.mark.parametrize("name", ["amdttm.ko", "amdttm.ko.xz", "amdttm.ko.zst"])
def test_read_facts_of_amdttm_by_dkms_is_added(tmp_path: Path, name: str) -> None:
    found = read_facts(machine(tmp_path, {f"lib/modules/6.8.0-60-generic/updates/dkms/{name}": ""}))
    assert found.module("amdttm").is_added is True
    assert found.module("ttm").is_added is False
    assert found.release == "6.8.0-60-generic"


def test_read_facts_of_a_tree_takes_the_latest_kernel_by_its_numbers(tmp_path: Path) -> None:
    for release in ("6.9.1-1", "6.10.2-1", "6.1.99-1"):
        (tmp_path / "usr/lib/modules" / release).mkdir(parents=True)
    assert read_facts(Machine(SysRoot(tmp_path), is_live=False)).release == "6.10.2-1"


def test_facts_in_use_is_what_amdgpu_holds(tmp_path: Path) -> None:
    found = facts(tmp_path, **{"sys/module/amdttm/initstate": "live\n", "sys/module/ttm/holders/amdgpu": None})
    assert found.in_use == ("ttm", "amdttm")
    (tmp_path / "sys/module/amdttm/holders/amdgpu").mkdir(parents=True)
    assert read_facts(Machine(SysRoot(tmp_path), is_live=True)).in_use == ("amdttm",)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.12.48", (6, 12)), ("6.5", (6, 5)), ("5.14.0-503.el9", (5, 14)), (None, None), ("next", None), ("6", None)],
)
def test_kernel_version_is_the_first_two_numbers(release: str | None, version: tuple[int, int] | None) -> None:
    assert kernel_version(release) == version
