from dataclasses import replace

import pytest

from greenboost_py.pressure.levels import Sample
from greenboost_py.pressure.resources import group_samples, kfd_limit_bytes, samples_of
from greenboost_py.sensors.amdgpu import AmdGpu
from greenboost_py.sensors.cgroup import CgroupLevel
from greenboost_py.sensors.nvml_reading import NvidiaGpu
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.snapshot import Snapshot

MIB, GIB = 1 << 20, 1 << 30

RAM = RamReading(
    total_bytes=125 * GIB,
    free_bytes=60 * GIB,
    available_bytes=70 * GIB,
    cma_free_bytes=2 * GIB,
    gpu_active_bytes=None,
    gpu_reclaim_bytes=10 * GIB,
    unaccounted_bytes=GIB,
    swap_total_bytes=8 * GIB,
    swap_free_bytes=8 * GIB,
)
APU = AmdGpu(
    card="card1",
    pci_address="0000:c4:00.0",
    driver="amdgpu",
    vram_total_bytes=512 * MIB,
    vram_used_bytes=100 * MIB,
    visible_vram_total_bytes=512 * MIB,
    visible_vram_used_bytes=100 * MIB,
    gtt_total_bytes=93 * GIB,
    gtt_used_bytes=20 * GIB,
    is_apu=True,
)
NVIDIA = NvidiaGpu(0, "GPU-1", "0000:41:00.0", "a card", 24 * GIB, 9 * GIB, 15 * GIB)


def snapshot(
    ram: RamReading | None = RAM,
    amd: tuple[AmdGpu, ...] = (),
    nvidia: tuple[NvidiaGpu, ...] = (),
    is_stale: bool = False,
) -> Snapshot:
    return Snapshot(
        at_s=7.0,
        ram=ram,
        psi=None,
        swap=None,
        cgroup=None,
        ttm=(),
        amdgpus=amd,
        nvidia_gpus=nvidia,
        errors=(),
        nvidia_is_stale=is_stale,
    )


def available(samples: Snapshot, resource: str) -> int:
    return next(sample.available_bytes for sample in samples_of(samples) if sample.resource == resource)


def test_samples_of_a_machine_are_ram_then_gtt_then_vram() -> None:
    assert list(samples_of(snapshot(amd=(APU,), nvidia=(NVIDIA,)))) == [
        Sample("ram", 7.0, 125 * GIB, 77 * GIB),
        Sample("gtt:0000:c4:00.0", 7.0, 93 * GIB, 73 * GIB),
        Sample("vram:0000:c4:00.0", 7.0, 512 * MIB, 412 * MIB),
        Sample("vram:0000:41:00.0", 7.0, 24 * GIB, 15 * GIB),
    ]


def test_samples_of_ram_leave_swap_out() -> None:
    with_swap = replace(RAM, swap_total_bytes=500 * GIB, swap_free_bytes=500 * GIB)
    assert list(samples_of(snapshot(with_swap))) == list(samples_of(snapshot()))


@pytest.mark.parametrize(
    ("ram", "gpu", "expected_bytes"),
    [
        pytest.param(RAM, APU, 73 * GIB, id="GTT itself"),
        pytest.param(replace(RAM, available_bytes=12 * GIB), APU, 19 * GIB, id="RAM"),
        pytest.param(
            replace(RAM, available_bytes=125 * GIB),
            replace(APU, gtt_total_bytes=124 * GIB),
            125 * GIB - 125 * GIB // 64 - 3 * GIB // 2 - 20 * GIB,
            id="what ROCm may have",
        ),
        pytest.param(None, APU, 73 * GIB, id="RAM is not known"),
        pytest.param(RAM, replace(APU, gtt_used_bytes=93 * GIB), 0, id="nothing is left"),
        pytest.param(RAM, replace(APU, gtt_used_bytes=94 * GIB), 0, id="more is used than there is"),
        pytest.param(replace(RAM, total_bytes=GIB), APU, 0, id="ROCm may have less than is used"),
    ],
)
def test_samples_of_gtt_are_the_least_of_what_limits_it(
    ram: RamReading | None, gpu: AmdGpu, expected_bytes: int
) -> None:
    assert available(snapshot(ram, (gpu,)), "gtt:0000:c4:00.0") == expected_bytes


def test_samples_of_gtt_count_all_gpus_against_what_rocm_may_have() -> None:
    ram = replace(RAM, total_bytes=64 * GIB, available_bytes=60 * GIB)
    one, other = (replace(APU, pci_address=f"0000:0{n}:00.0", gtt_total_bytes=60 * GIB) for n in (1, 2))
    left_bytes = kfd_limit_bytes(64 * GIB) - 40 * GIB
    assert available(snapshot(ram, (one, other)), "gtt:0000:01:00.0") == left_bytes < 40 * GIB


def test_samples_of_what_cannot_be_read_or_has_nothing_are_left_out() -> None:
    bare = replace(APU, vram_total_bytes=0, vram_used_bytes=0, gtt_total_bytes=0, gtt_used_bytes=0)
    assert list(samples_of(snapshot(None, (bare,)))) == []


def test_samples_of_a_card_whose_driver_hangs_are_left_out() -> None:
    samples = samples_of(snapshot(nvidia=(NVIDIA,), is_stale=True))
    assert [sample.resource for sample in samples] == ["ram"]


@pytest.mark.parametrize(
    ("ram_gib", "expected_gib"), [(30.9, 28.9), (62.4, 59.9), (93.7, 90.7), (125.0, 121.5), (1, 0)]
)
def test_kfd_limit_is_ram_less_a_part_and_a_constant(ram_gib: float, expected_gib: float) -> None:
    assert kfd_limit_bytes(int(ram_gib * GIB)) / GIB == pytest.approx(expected_gib, abs=0.06)


def test_group_samples_are_headroom_of_the_limit() -> None:
    group = CgroupLevel("/sys/fs/cgroup/a", limit_bytes=8 * GIB, usage_bytes=6 * GIB, reclaimable_bytes=GIB)
    empty = CgroupLevel("/sys/fs/cgroup/b", limit_bytes=0, usage_bytes=0, reclaimable_bytes=0)
    assert list(group_samples([group, empty], 3.0)) == [Sample("cgroup:/sys/fs/cgroup/a", 3.0, 8 * GIB, 3 * GIB)]
