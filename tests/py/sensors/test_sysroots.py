"""The machines in tests/sysroots are such as could be: their figures fit each other."""

import os
from pathlib import Path

import pytest

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.ram import gpu_host_bytes
from greenboost_py.sensors.snapshot import take_snapshot

KIB, GIB = 1 << 10, 1 << 30

RESIDUE_KIB = {
    "strix-halo": 300000,
    "amd-discrete": 210000,
    "nvidia-desktop": 150000,
    "two-gpus": 260000,
    "hybrid-laptop": 180000,
    "container": 230000,
    "kernel-gpuactive": 140000,
    "cgroup-v1": 170000,
}
"""What the kernel takes and does not say: all that is unaccounted for beside GTT and zram."""


@pytest.fixture(params=RESIDUE_KIB)
def machine(request: pytest.FixtureRequest, repository: Path) -> Path:
    """Each machine's folder in turn."""
    return repository / "tests/sysroots" / str(request.param)


def meminfo_kib(machine: Path) -> dict[str, int]:
    pairs = (line.split(":") for line in (machine / "proc/meminfo").read_text().splitlines())
    return {key: int(value.removesuffix(" kB")) for key, value in pairs}


def test_every_machine_is_known_and_described(repository: Path) -> None:
    folders = {path.name for path in (repository / "tests/sysroots").iterdir() if path.is_dir()}
    assert folders == set(RESIDUE_KIB)
    readme = (repository / "tests/sysroots/README.md").read_text()
    assert [name for name in sorted(folders) if f"| `{name}` |" not in readme] == []


def test_meminfo_adds_up_as_on_a_real_machine(machine: Path) -> None:
    kib = meminfo_kib(machine)
    assert kib["Active"] == kib["Active(anon)"] + kib["Active(file)"]
    assert kib["Inactive"] == kib["Inactive(anon)"] + kib["Inactive(file)"]
    assert kib["Active(file)"] + kib["Inactive(file)"] == kib["Buffers"] + kib["Cached"] - kib["Shmem"]
    assert kib["Active(anon)"] + kib["Inactive(anon)"] + kib["Unevictable"] == kib["AnonPages"] + kib["Shmem"]
    assert kib["Slab"] == kib["SReclaimable"] + kib["SUnreclaim"]
    assert kib["KReclaimable"] == kib["SReclaimable"]
    assert kib["Hugetlb"] == kib["HugePages_Total"] * kib["Hugepagesize"]
    assert kib["CommitLimit"] == (kib["MemTotal"] - kib["Hugetlb"]) // 2 + kib["SwapTotal"]
    assert kib["MemFree"] < kib["MemAvailable"] < kib["MemTotal"]
    assert kib["AnonHugePages"] <= kib["AnonPages"]


def test_what_is_unaccounted_for_is_gtt_and_zram_and_a_residue(machine: Path) -> None:
    snapshot = take_snapshot(SysRoot(machine), None, 0.0)
    assert snapshot.ram is not None and snapshot.swap is not None
    residue_bytes = RESIDUE_KIB[machine.name] * KIB
    gtt_bytes = sum(gpu.gtt_used_bytes for gpu in snapshot.amdgpus)
    zram_bytes = snapshot.swap.zram_bytes
    hidden_bytes = 0 if snapshot.ram.gpu_active_bytes is not None else gtt_bytes
    assert snapshot.ram.unaccounted_bytes == hidden_bytes + zram_bytes + residue_bytes
    # With a driver that does not say what it holds, it is found all the same.
    assert gpu_host_bytes(snapshot.ram, 0, residue_bytes, zram_bytes) == gtt_bytes


def test_swap_is_the_sum_of_its_devices(machine: Path) -> None:
    snapshot = take_snapshot(SysRoot(machine), None, 0.0)
    assert snapshot.ram is not None and snapshot.swap is not None
    devices, zrams = snapshot.swap.devices, {f"/dev/{zram.name}": zram for zram in snapshot.swap.zrams}
    used_bytes = sum(device.used_bytes for device in devices)
    assert snapshot.ram.swap_total_bytes == sum(device.size_bytes for device in devices)
    assert snapshot.ram.swap_free_bytes == snapshot.ram.swap_total_bytes - used_bytes
    assert {device.path for device in devices if "zram" in device.path} == set(zrams)
    for device in devices:
        if device.path in zrams:
            zram = zrams[device.path]
            assert zram.compressed_bytes <= zram.memory_bytes
            assert device.used_bytes <= zram.data_bytes + 4 * KIB


def test_processes_hold_no_more_than_there_is(machine: Path) -> None:
    kib = meminfo_kib(machine)
    held = {"RssAnon": 0, "RssShmem": 0, "VmSwap": 0}
    for status in machine.glob("proc/[0-9]*/status"):
        for line in status.read_text().splitlines():
            key, _, value = line.partition(":")
            if key in held:
                held[key] += int(value.removesuffix(" kB"))
    assert held["RssAnon"] <= kib["AnonPages"]
    assert held["RssShmem"] <= kib["Shmem"]
    assert held["VmSwap"] <= kib["SwapTotal"] - kib["SwapFree"]


def test_a_default_limit_of_gtt_is_half_of_ram(repository: Path) -> None:
    for name in ("amd-discrete", "hybrid-laptop"):
        snapshot = take_snapshot(SysRoot(repository / "tests/sysroots" / name), None, 0.0)
        assert snapshot.ram is not None
        assert snapshot.amdgpus[0].gtt_total_bytes == snapshot.ttm[0].limit_bytes == snapshot.ram.total_bytes // 2


def test_cgroups_hold_what_those_below_them_hold(machine: Path) -> None:
    usage = {"1": "memory.usage_in_bytes", "2": "memory.current"}["1" if machine.name == "cgroup-v1" else "2"]
    top = machine / "sys/fs/cgroup"
    seen = 0
    for file in top.glob(f"**/{usage}"):
        below = [int(path.read_text()) for path in file.parent.glob(f"*/{usage}")]
        assert sum(below) <= int(file.read_text())
        seen += 1
    assert seen > 0


def test_no_link_leads_out_of_a_machine(machine: Path) -> None:
    for path in machine.rglob("*"):
        # SysRoot takes an absolute link for one into the tree.
        if path.is_symlink() and not (target := os.readlink(path)).startswith("/"):
            assert target.split("/").count("..") <= len(path.parent.relative_to(machine).parts), path
