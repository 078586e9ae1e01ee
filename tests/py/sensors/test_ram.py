from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.ram import RamReading, gpu_host_bytes, read_ram

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

ACCOUNTED = (
    *("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "Slab", "KernelStack", "PageTables", "SecPageTables"),
    *("Percpu", "Hugetlb", "Zswap", "Balloon", "Unaccepted", "GPUActive", "GPUReclaim"),
)


def meminfo(root: Path, text: str | bytes) -> SysRoot:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_bytes(text if isinstance(text, bytes) else text.encode())
    return SysRoot(root)


def a_ram(**fields: int | None) -> RamReading:
    amounts = {
        "total_bytes": 64 * GIB,
        "free_bytes": 10 * GIB,
        "available_bytes": 20 * GIB,
        "cma_free_bytes": 0,
        "gpu_active_bytes": None,
        "gpu_reclaim_bytes": None,
        "unaccounted_bytes": 0,
        "swap_total_bytes": 0,
        "swap_free_bytes": 0,
    }
    return RamReading(**(amounts | fields))  # type: ignore[arg-type]  # None is for the two that may be


MACHINES = {
    # total, free, available, CMA free, GPUActive, GPUReclaim, unaccounted, swap, swap free; in KiB
    "strix-halo": (131055616, 35658272, 70210080, 0, None, None, 43815904, 16777212, 10485756),
    "amd-discrete": (65341728, 22312144, 44282064, 0, None, None, 1782864, 0, 0),
    "nvidia-desktop": (32784384, 6072848, 19736080, 229376, None, None, 150000, 8388604, 7864316),
    "two-gpus": (98247680, 36648032, 69440608, 0, None, None, 1046432, 4194300, 4194300),
    "hybrid-laptop": (16355328, 795872, 1438432, 0, None, None, 1511200, 17825784, 16515064),
    "container": (65713152, 17066384, 44279184, 0, None, None, 230000, 2097148, 2031612),
    "kernel-gpuactive": (63258624, 11905300, 20512020, 0, 25165824, 6291456, 140012, 8388604, 8388604),
    "cgroup-v1": (24684092, 13622260, 17483392, 0, None, None, 170000, 2097148, 1310716),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_read_ram_of_a_machine_is_what_its_meminfo_says(repository: Path, machine: str) -> None:
    expected = RamReading(*(None if kib is None else kib * KIB for kib in MACHINES[machine]))  # type: ignore[arg-type]
    assert read_ram(SysRoot(repository / "tests/sysroots" / machine)) == expected


def test_read_ram_of_a_machine_without_meminfo_is_none(tmp_path: Path) -> None:
    assert read_ram(SysRoot(tmp_path)) is None


def test_read_ram_of_the_live_machine_is_consistent() -> None:
    ram = read_ram(SysRoot())
    assert ram is not None
    words = Path("/proc/meminfo").read_text().split()
    assert ram.total_bytes == int(words[words.index("MemTotal:") + 1]) * KIB
    assert 0 < ram.free_bytes < ram.total_bytes
    assert ram.cma_free_bytes <= ram.free_bytes
    assert 0 < ram.available_bytes <= ram.total_bytes
    assert 0 <= ram.effective_available_bytes <= ram.total_bytes
    assert ram.swap_free_bytes <= ram.swap_total_bytes
    assert 0 <= ram.unaccounted_bytes <= ram.total_bytes - ram.free_bytes
    assert (ram.gpu_active_bytes is None) == (ram.gpu_reclaim_bytes is None)


def test_read_ram_counts_every_field_that_says_where_ram_is(tmp_path: Path) -> None:
    lines = [f"{name}: {1 << i} kB\n" for i, name in enumerate(ACCOUNTED)]
    others = "Shmem: 9 kB\nKReclaimable: 9 kB\nMapped: 9 kB\nSReclaimable: 9 kB\nMemFreeX: 9 kB\n MemFree: 9 kB\n"
    root = meminfo(tmp_path, f"MemTotal: {1 << 20} kB\nMemAvailable: 5 kB\n{others}{''.join(lines)}")
    ram = read_ram(root)
    assert ram is not None
    assert ram.unaccounted_bytes == ((1 << 20) - (1 << len(ACCOUNTED)) + 1) * KIB


def test_read_ram_where_more_is_accounted_for_than_there_is_finds_nothing_hidden(tmp_path: Path) -> None:
    ram = read_ram(meminfo(tmp_path, "MemTotal: 10 kB\nMemFree: 6 kB\nMemAvailable: 6 kB\nCached: 6 kB\n"))
    assert ram is not None
    assert ram.unaccounted_bytes == 0


def test_read_ram_before_linux_3_14_estimates_what_is_available(tmp_path: Path) -> None:
    ram = read_ram(meminfo(tmp_path, "MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 5 kB\nCached: 20 kB\n"))
    assert ram is not None
    assert ram.available_bytes == 35 * KIB


def test_read_ram_takes_the_first_of_two(tmp_path: Path) -> None:
    text = (
        "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 7 kB\nMemAvailable: 9 kB\nMemTotal: rubbish\nMemFree: 1 MB\n"
    )
    ram = read_ram(meminfo(tmp_path, text))
    assert ram is not None
    assert (ram.total_bytes, ram.available_bytes, ram.free_bytes) == (100 * KIB, 7 * KIB, 10 * KIB)


GOOD = "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 20 kB\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "MemTotal is missing"),
        ("\n\n", "MemTotal is missing"),
        ("memtotal: 5 kB\n", "MemTotal is missing"),
        (GOOD.replace("MemTotal:", "MemTotal"), "MemTotal is missing"),
        (GOOD.replace("MemFree", "x"), "MemFree is missing"),
        ("MemTotal: 100 kB\nMemFree: 10 kB\n", "Buffers is missing"),
        ("MemTotal: 100 kB\nMemFree: 10 kB\nBuffers: 1 kB\n", "Cached is missing"),
        (GOOD.replace("100 kB", "0 kB"), "MemTotal is 0"),
        (GOOD.replace("100 kB", "-100 kB"), "MemTotal is malformed"),
        (GOOD.replace("100 kB", "1e3 kB"), "MemTotal is malformed"),
        (GOOD.replace("100 kB", "1 00 kB"), "MemTotal is malformed"),
        (GOOD.replace("100 kB", "kB"), "MemTotal is malformed"),
        (GOOD.replace("100 kB", "9007199254740992 kB"), "MemTotal is malformed"),  # 2^63 bytes
        (GOOD.replace("100 kB", f"{10**30} kB"), "MemTotal is malformed"),
        (GOOD.replace("100 kB", "100"), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB", "100 MB"), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB", "100 KB"), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB", "100kB"), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB", "100 kB "), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB\n", "100 kB\r\n"), "MemTotal, in kB, is malformed"),
        (GOOD.replace("100 kB", ""), "MemTotal, in kB, is malformed"),
        (GOOD.replace("20 kB", "x kB"), "MemAvailable is malformed"),
        (f"{GOOD}GPUReclaim: -1 kB\n", "GPUReclaim is malformed"),
        (f"{GOOD}CmaFree: ٣ kB\n", "CmaFree is malformed"),
    ],
)
def test_read_ram_of_a_malformed_meminfo_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SensorError) as caught:
        read_ram(meminfo(tmp_path, text))
    assert str(caught.value).startswith(f"/proc/meminfo: {said}")


def test_read_ram_takes_the_largest_that_fits(tmp_path: Path) -> None:
    ram = read_ram(meminfo(tmp_path, GOOD.replace("100 kB", "9007199254740991 kB")))
    assert ram is not None
    assert ram.total_bytes == 2**63 - KIB


PIECES = [*(f"{name}:".encode() for name in (*ACCOUNTED, "MemTotal", "MemAvailable", "CmaFree"))]


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from([*PIECES, b" ", b"\t", b"\n", b" kB\n", b" 12 kB\n", b"0", b"7", b"-", b"\xff", b"\0", b"\r"])
    ).map(b"".join)
    | st.lists(st.sampled_from([*GOOD.encode().splitlines(True), b"GPUReclaim: 999 kB\n", b"CmaFree: 30 kB\n"])).map(
        b"".join
    )
)
def test_read_ram_of_any_bytes_is_a_reading_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    root = meminfo(tmp_path_factory.getbasetemp(), data)
    try:
        ram = read_ram(root)
    except SensorError as error:
        assert error.path == "/proc/meminfo"
        return
    assert ram is not None
    assert 0 <= ram.effective_available_bytes <= ram.total_bytes
    assert 0 <= ram.unaccounted_bytes <= ram.total_bytes


@pytest.mark.parametrize(
    ("available", "cma_free", "reclaim", "effective"),
    [
        (20 * GIB, 0, None, 20 * GIB),
        (20 * GIB, GIB, None, 19 * GIB),
        (GIB, 2 * GIB, None, 0),  # MemAvailable keeps a reserve back, and may be below CmaFree
        (20 * GIB, 0, 10 * GIB, 29 * GIB),
        (GIB, 2 * GIB, 10 * GIB, 9 * GIB),
        (60 * GIB, 0, 10 * GIB, 64 * GIB),
        (99 * GIB, 0, None, 64 * GIB),
        (0, 0, 11, 9),
    ],
)
def test_effective_available_leaves_cma_out_and_counts_what_drivers_give_back(
    available: int, cma_free: int, reclaim: int | None, effective: int
) -> None:
    ram = a_ram(available_bytes=available, cma_free_bytes=cma_free, gpu_reclaim_bytes=reclaim)
    assert ram.effective_available_bytes == effective


@pytest.mark.parametrize(
    ("active", "unaccounted", "gtt", "baseline", "zram", "held"),
    [
        (None, 0, 0, 0, 0, 0),
        (None, 5 * GIB, 0, GIB, 0, 4 * GIB),  # a driver that does not say what it holds
        (None, 5 * GIB, 0, GIB, 3 * GIB, GIB),
        (None, 5 * GIB, 0, 6 * GIB, 0, 0),
        (None, 5 * GIB, 7 * GIB, GIB, 0, 7 * GIB),
        (0, 5 * GIB, 0, GIB, 0, 0),  # where the kernel says it, what else is unaccounted for is nobody's
        (3 * GIB, 5 * GIB, 2 * GIB, GIB, 0, 3 * GIB),
        (3 * GIB, 0, 4 * GIB, 0, 0, 4 * GIB),
    ],
)
def test_gpu_host_bytes_is_the_larger_of_what_drivers_and_kernel_say(
    active: int | None, unaccounted: int, gtt: int, baseline: int, zram: int, held: int
) -> None:
    ram = a_ram(gpu_active_bytes=active, unaccounted_bytes=unaccounted)
    assert gpu_host_bytes(ram, gtt, baseline, zram) == held
