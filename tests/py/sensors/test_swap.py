from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.swap import SwapDevice, SwapReading, ZramDevice, read_swap

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def tree(root: Path, swaps: str | bytes | None = None, **mm_stats: str | bytes) -> SysRoot:
    (root / "proc").mkdir(exist_ok=True)
    if swaps is not None:
        (root / "proc/swaps").write_bytes(swaps if isinstance(swaps, bytes) else swaps.encode())
    for name, text in mm_stats.items():
        (root / "sys/block" / name).mkdir(parents=True, exist_ok=True)
        (root / "sys/block" / name / "mm_stat").write_bytes(text if isinstance(text, bytes) else text.encode())
    return SysRoot(root)


MACHINES = {
    "strix-halo": SwapReading(
        (SwapDevice("/dev/zram0", "partition", 16777212 * KIB, 6 * GIB, 100),),
        (ZramDevice("zram0", 6 * GIB, 1489387520, 1536 * MIB, None),),
    ),
    "amd-discrete": SwapReading((), ()),
    "nvidia-desktop": SwapReading((SwapDevice("/swap file", "file", 8388604 * KIB, 512 * MIB, -2),), ()),
    "two-gpus": SwapReading((SwapDevice("/dev/dm-1", "partition", 4194300 * KIB, 0, -2),), ()),
    "hybrid-laptop": SwapReading(
        (
            SwapDevice("/dev/nvme0n1p3", "partition", 9437180 * KIB, 0, -2),
            SwapDevice("/dev/zram0", "partition", 8388604 * KIB, 1280 * MIB, 100),
        ),
        (ZramDevice("zram0", 1280 * MIB, 401604608, 400 * MIB, 4 * GIB),),
    ),
    "container": SwapReading((SwapDevice("/dev/sda3", "partition", 2097148 * KIB, 64 * MIB, -2),), ()),
    "kernel-gpuactive": SwapReading(
        (SwapDevice("/dev/zram0", "partition", 8388604 * KIB, 0, 100),),
        (ZramDevice("zram0", 4096, 74, 12288, None),),
    ),
    "cgroup-v1": SwapReading((SwapDevice("/dev/vdb", "partition", 2097148 * KIB, 768 * MIB, -2),), ()),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_read_swap_of_a_machine_is_all_of_its_devices(repository: Path, machine: str) -> None:
    assert read_swap(SysRoot(repository / "tests/sysroots" / machine)) == MACHINES[machine]


def test_read_swap_of_the_live_machine_adds_up() -> None:
    swap = read_swap(SysRoot())
    if swap is None:
        pytest.skip("this kernel has neither swap nor zram")
    words = Path("/proc/meminfo").read_text().split()
    assert sum(device.size_bytes for device in swap.devices) == int(words[words.index("SwapTotal:") + 1]) * KIB
    assert all(device.used_bytes <= device.size_bytes for device in swap.devices)
    assert 0 <= swap.zram_bytes < int(words[words.index("MemTotal:") + 1]) * KIB


def test_read_swap_of_a_kernel_without_swap_is_none(tmp_path: Path) -> None:
    assert read_swap(SysRoot(tmp_path)) is None
    (tmp_path / "sys/block/sda").mkdir(parents=True)
    assert read_swap(SysRoot(tmp_path)) is None


def test_read_swap_finds_zram_that_is_no_swap(tmp_path: Path) -> None:
    root = tree(
        tmp_path, zram1="1 2 3 4\n", zram0="10 20 30 0 5 6 7\n", zramx="rubbish", zram0p1="rubbish", xzram0="rubbish"
    )
    (tmp_path / "sys/block/zram7").mkdir()  # being removed
    reading = read_swap(root)
    assert reading == SwapReading((), (ZramDevice("zram0", 10, 20, 30, None), ZramDevice("zram1", 1, 2, 3, 4)))
    assert reading.zram_bytes == 33


def test_read_swap_of_a_deleted_file_keeps_its_name(tmp_path: Path) -> None:
    row = "/my\\040swap\\134\\012\\040(deleted)           file\t\t1024\t\t12\t\t32767\n"
    reading = read_swap(tree(tmp_path, HEADER + row))
    assert reading is not None
    assert reading.devices == (SwapDevice("/my swap\\\n (deleted)", "file", MIB, 12 * KIB, 32767),)


ROW = "/dev/sda1                               partition\t1024\t\t12\t\t-2\n"


@pytest.mark.parametrize(
    "swaps",
    [
        "",
        "\n",
        ROW,
        f"{HEADER}\n",
        f"{HEADER}{ROW}\n",
        f"{HEADER}rubbish\n",
        HEADER + ROW.replace("/dev/sda1", "/dev/sd a1"),
        HEADER + ROW.replace("partition", ""),
        *(
            HEADER + ROW.replace("1024", size)
            for size in ("-1", "", "1k", "1 2", "9007199254740992", "9" * 5000, "٣", "1.5")
        ),
        HEADER + ROW.replace("\t12\t", "\t-12\t"),
        HEADER + ROW.replace("\t12\t", "\t9007199254740992\t"),
        HEADER + ROW.replace("-2", "--2"),
        HEADER + ROW.replace("-2", ""),
        HEADER + ROW.replace("-2", "9" * 5000),
        HEADER + ROW.replace("-2", "-2 7"),
    ],
)
def test_read_swap_of_a_malformed_table_is_an_error(tmp_path: Path, swaps: str) -> None:
    with pytest.raises(SensorError, match=r"^/proc/swaps: "):
        read_swap(tree(tmp_path, swaps))


@pytest.mark.parametrize("text", ["", "\n", "1 2 3", "1 2 -3 4", "1 2 x 4", f"1 2 {2**63} 4", "1,2,3,4"])
def test_read_swap_of_a_malformed_zram_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SensorError, match=r"^/sys/block/zram0/mm_stat: "):
        read_swap(tree(tmp_path, HEADER, zram0=text))


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [HEADER.encode(), ROW.encode(), b"/a\\040b", b" ", b"\t", b"\n", b"file", b"7", b"-", b"\xff", b"\0"]
        )
    ).map(b"".join),
    st.binary(max_size=30) | st.lists(st.sampled_from([b"1", b" ", b"\n", b"-", b"99 "])).map(b"".join),
)
def test_read_swap_of_any_bytes_is_a_reading_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, swaps: bytes, mm_stat: bytes
) -> None:
    root = tree(tmp_path_factory.getbasetemp(), swaps, zram0=mm_stat)
    try:
        reading = read_swap(root)
    except SensorError as error:
        assert error.path in ("/proc/swaps", "/sys/block/zram0/mm_stat")
        return
    assert reading is not None
    assert reading.zram_bytes >= 0
