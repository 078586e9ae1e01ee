import shutil
from pathlib import Path

import pytest

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.amdgpu import read_amdgpus
from greenboost_py.sensors.cgroup import read_cgroup
from greenboost_py.sensors.nvml import NvidiaGpu, NvidiaProcess, NvmlError, NvmlReading, NvmlSource
from greenboost_py.sensors.psi import read_psi
from greenboost_py.sensors.ram import read_ram
from greenboost_py.sensors.snapshot import NvmlReader, Snapshot, take_snapshot
from greenboost_py.sensors.swap import read_swap
from greenboost_py.sensors.ttm import read_ttm

MACHINES = [
    *("amd-discrete", "cgroup-v1", "container", "hybrid-laptop", "kernel-gpuactive", "nvidia-desktop", "strix-halo"),
    "two-gpus",
]

GPU = NvidiaGpu(0, "GPU-1", "0000:41:00.0", "A100", 80 << 30, 3 << 30, 77 << 30)
PROCESS = NvidiaProcess(7500, "0000:41:00.0", 2 << 30)


class Nvml:
    """What stands in for NVIDIA's driver."""

    def __init__(self, reading: NvmlReading) -> None:
        self._reading = reading

    def read(self) -> NvmlReading:
        return self._reading


@pytest.mark.parametrize("machine", MACHINES)
def test_take_snapshot_of_a_machine_has_every_reading_and_no_error(repository: Path, machine: str) -> None:
    root = SysRoot(repository / "tests/sysroots" / machine)
    expected = Snapshot(
        at_s=1.5,
        ram=read_ram(root),
        psi=read_psi(root),
        swap=read_swap(root),
        cgroup=read_cgroup(root),
        ttm=read_ttm(root),
        amdgpus=read_amdgpus(root).gpus,
        nvidia_gpus=(GPU,),
        errors=(),
        nvidia_processes=(PROCESS,),
    )
    assert expected.ram is not None and expected.swap is not None and expected.cgroup is not None
    assert take_snapshot(root, Nvml(NvmlReading((GPU,), (PROCESS,))), 1.5) == expected


def test_take_snapshot_of_nothing_is_empty(tmp_path: Path) -> None:
    assert take_snapshot(SysRoot(tmp_path), None, 0.0) == Snapshot(0.0, None, None, None, None, (), (), (), ())


def test_take_snapshot_of_the_live_machine_has_its_ram() -> None:
    source: NvmlReader = NvmlSource(2.0)  # the real one is one
    del source
    snapshot = take_snapshot(SysRoot(), None, 7.0)
    assert snapshot.at_s == 7.0
    assert snapshot.ram is not None
    assert snapshot.errors == ()


BROKEN = {
    "ram": "proc/meminfo",
    "psi": "proc/pressure/memory",
    "swap": "proc/swaps",
    "cgroup": "proc/self/cgroup",
    "ttm": "sys/module/ttm/parameters/pages_limit",
    "amdgpus": "sys/class/drm/card1/device/mem_info_gtt_used",
}


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    """A machine whose files may be broken."""
    return Path(shutil.copytree(repository / "tests/sysroots/strix-halo", tmp_path / "root", symlinks=True))


@pytest.mark.parametrize("field", BROKEN)
def test_take_snapshot_goes_on_past_a_malformed_file(copy: Path, field: str) -> None:
    whole = take_snapshot(SysRoot(copy), None, 0.0)
    (copy / BROKEN[field]).write_text("rubbish\n")
    snapshot = take_snapshot(SysRoot(copy), None, 0.0)
    (error,) = snapshot.errors
    assert str(error).startswith(f"/{BROKEN[field]}: ")
    assert not getattr(snapshot, field)
    for other in {"ram", "psi", "swap", "cgroup", "ttm", "amdgpus"} - {field}:
        assert getattr(snapshot, other) == getattr(whole, other)


def test_take_snapshot_collects_every_error(copy: Path) -> None:
    for path in BROKEN.values():
        (copy / path).write_text("rubbish\n")
    error = NvmlError("NVML: Driver Not Loaded")
    snapshot = take_snapshot(SysRoot(copy), Nvml(NvmlReading(error=error)), 0.0)
    assert [str(each).partition(": ")[0] for each in snapshot.errors] == [
        *(f"/{path}" for path in BROKEN.values()),
        "NVML",
    ]
    assert snapshot.errors[-1] is error


def test_take_snapshot_says_that_nvidias_figures_are_stale(tmp_path: Path) -> None:
    error = NvmlError("NVML: NVIDIA's driver has not answered within 2 s")
    snapshot = take_snapshot(SysRoot(tmp_path), Nvml(NvmlReading((GPU,), error=error, is_stale=True)), 0.0)
    assert (snapshot.nvidia_gpus, snapshot.nvidia_is_stale, snapshot.errors) == ((GPU,), True, (error,))
