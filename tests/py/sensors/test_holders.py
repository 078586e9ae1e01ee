import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.sysroot import READ_BYTES_MAX, SysRoot
from greenboost_py.sensors.holders import (
    Holder,
    HoldersReading,
    held_bytes,
    largest_of,
    largest_ram_holders,
    read_holders,
)
from greenboost_py.sensors.nvml_reading import NvidiaProcess

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

AMD, NVIDIA = "0000:c4:00.0", "0000:41:00.0"

RENDER = "/dev/dri/renderD128"


def stat(name: bytes = b"trainer", start: bytes = b"712345", pid: int = 4242) -> bytes:
    numbers = b" ".join([b"1"] * 18)
    return b"%d (%b) S %b %b %b\n" % (pid, name, numbers, start, b" ".join([b"0"] * 30))


def status(name: bytes = b"trainer", anon: bytes = b"     100 kB", more: bytes = b"") -> bytes:
    return b"Name:\t%b\nState:\tS (sleeping)\nUid:\t1000\t1001\t1002\t1003\nRssAnon:\t%b\n%bThreads:\t1\n" % (
        name,
        anon,
        more,
    )


def fdinfo(client: int = 57, vram_kib: int = 0, gtt_kib: int = 0, device: str = AMD) -> bytes:
    return (
        f"drm-client-id:\t{client}\ndrm-pdev:\t{device}\ndrm-resident-vram:\t{vram_kib} KiB\ndrm-resident-gtt:\t{gtt_kib} KiB\n"
    ).encode()


def make_process(
    root: Path,
    pid: int = 4242,
    files: Mapping[str, bytes | None] | None = None,
    fds: Mapping[int, bytes | None] | None = None,
    link: str = RENDER,
) -> SysRoot:
    """A process with open files of a GPU; `files` replaces its stat or status, None leaves a file out."""
    folder = root / f"proc/{pid}"
    for sub in ("fd", "fdinfo"):
        (folder / sub).mkdir(parents=True)
    usual: dict[str, bytes | None] = {"stat": stat(pid=pid), "status": status()}
    for name, data in {**usual, **(files or {})}.items():
        if data is not None:
            (folder / name).write_bytes(data)
    for descriptor, info in (fds or {}).items():
        (folder / f"fd/{descriptor}").symlink_to(link)
        if info is not None:
            (folder / f"fdinfo/{descriptor}").write_bytes(info)
    return SysRoot(root)


def read_one(root: SysRoot, *nvidia: NvidiaProcess) -> Holder:
    reading = read_holders(root, nvidia)
    assert reading.errors == ()
    (holder,) = reading.holders
    return holder


def test_read_holders_of_a_machine_without_proc_finds_nobody(tmp_path: Path) -> None:
    assert read_holders(SysRoot(tmp_path)) == HoldersReading((), ())


def test_read_holders_reads_a_process(tmp_path: Path) -> None:
    more = b"RssFile:\t  999999 kB\nRssShmem:\t      20 kB\nVmSwap:\t       3 kB\n"
    root = make_process(tmp_path, files={"status": status(more=more)}, fds={5: fdinfo(vram_kib=7, gtt_kib=9)})
    assert read_one(root) == Holder(4242, 1000, "trainer", 712345, 123 * KIB, {AMD: 7 * KIB}, {AMD: 9 * KIB})


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (
            "strix-halo",
            {
                1: Holder(1, 0, "systemd", 4, 5120 * KIB, {}, {}),
                2: Holder(2, 0, "kthreadd", 4, 0, {}, {}),
                # the shell's client is open in Xwayland too, and counts for the shell
                1543: Holder(1543, 1000, "gnome-shell", 2210, 352000 * KIB, {AMD: 200 * MIB}, {AMD: 300 * MIB}),
                2210: Holder(2210, 1000, "Xwayland", 2950, 60000 * KIB, {AMD: 16 * MIB}, {AMD: 64 * MIB}),
                8123: Holder(
                    8123, 1000, "llama-server", 712345, 2202025 * KIB, {AMD: 32 * MIB}, {AMD: 40 * GIB - 512 * MIB}
                ),
                8130: Holder(8130, 1000, "llama-server", 712399, 6144 * KIB, {}, {}),
            },
        ),
        (
            "amd-discrete",
            {
                40211: Holder(
                    40211,
                    1001,
                    "python3 (train)",
                    9123411,
                    9 * GIB,
                    {"0000:03:00.0": 19 * GIB + 64 * MIB},
                    {"0000:03:00.0": GIB},
                )
            },
        ),
        (
            "two-gpus",
            {
                7450: Holder(
                    7450, 1000, "rocm-bench", 500123, GIB, {"0000:0b:00.0": 8 * GIB}, {"0000:0b:00.0": 384 * MIB}
                )
            },
        ),
        ("hybrid-laptop", {4466: Holder(4466, 1000, "Isolated?Web Co", 33500, 1060000 * KIB, {}, {})}),
        ("nvidia-desktop", {5120: Holder(5120, 1000, "python", 88123, 6488064 * KIB, {}, {})}),
        ("cgroup-v1", {812: Holder(812, 0, "Xorg", 1500, 52000 * KIB, {}, {"0000:00:02.0": 24 * MIB})}),
        ("container", {7: Holder(7, 1000, "python", 8123410, 5376 * MIB, {}, {})}),
        (
            "kernel-gpuactive",
            {6120: Holder(6120, 1000, "ollama", 210000, 1536 * MIB, {"0000:c5:00.0": GIB}, {"0000:c5:00.0": 23 * GIB})},
        ),
    ],
)
def test_read_holders_of_a_machine_has_its_figures(repository: Path, machine: str, expected: dict[int, Holder]) -> None:
    reading = read_holders(SysRoot(repository / "tests/sysroots" / machine))
    assert reading.errors == ()
    found = {holder.pid: holder for holder in reading.holders}
    assert list(found) == sorted(found)
    assert {pid: found[pid] for pid in expected} == expected


def test_read_holders_adds_what_nvml_says(repository: Path) -> None:
    says = (NvidiaProcess(7500, NVIDIA, 3 * GIB), NvidiaProcess(3100, NVIDIA, None), NvidiaProcess(999999, NVIDIA, 1))
    reading = read_holders(SysRoot(repository / "tests/sysroots/two-gpus"), says)
    found = {holder.pid: holder.vram_bytes for holder in reading.holders}
    assert found[7500] == {NVIDIA: 3 * GIB}
    assert found[3100] == {"0000:0b:00.0": 512 * MIB}
    assert 999999 not in found


def test_read_holders_of_a_driver_that_nvml_repeats_counts_once(tmp_path: Path) -> None:
    root = make_process(tmp_path, fds={5: fdinfo(vram_kib=100, device=NVIDIA)})
    assert read_one(root, NvidiaProcess(4242, NVIDIA, 90 * KIB)).vram_bytes == {NVIDIA: 100 * KIB}
    assert read_one(root, NvidiaProcess(4242, NVIDIA, 110 * KIB)).vram_bytes == {NVIDIA: 110 * KIB}


def test_read_holders_counts_a_client_once_over_descriptors_and_processes(tmp_path: Path) -> None:
    for pid in (10, 9, 300):
        make_process(tmp_path, pid, fds={3: fdinfo(1, gtt_kib=8), 4: fdinfo(1, gtt_kib=8), 50: fdinfo(pid, vram_kib=1)})
    reading = read_holders(SysRoot(tmp_path))
    assert [(holder.pid, holder.gtt_bytes, holder.vram_bytes) for holder in reading.holders] == [
        (9, {AMD: 8 * KIB}, {AMD: KIB}),
        (10, {}, {AMD: KIB}),
        (300, {}, {AMD: KIB}),
    ]


def test_read_holders_tells_clients_of_the_same_id_apart_by_their_gpu(tmp_path: Path) -> None:
    root = make_process(tmp_path, fds={3: fdinfo(1, vram_kib=8), 4: fdinfo(1, vram_kib=4, device=NVIDIA)})
    assert read_one(root).vram_bytes == {AMD: 8 * KIB, NVIDIA: 4 * KIB}


MAPS = b"""\
7f0000000000-7f0000400000 rw-s 10165d000 00:05 216                       /dev/dri/card0
7f0000400000-7f0000401000 rw-s 00000000 00:05 217                        /dev/dri/card1
7f0000500000-7f0000600000 r--p 00000000 fe:00 12                         /usr/lib/libc.so.6
7f0000700000-7f0000800000 rw-p 00000000 00:00 0
7f0000800000-7f0000c00000 rw-s 10125d000 00:05 216                       /dev/dri/card0
"""

SILENT = b"pos:\t0\nflags:\t02100002\nmnt_id:\t24\nino:\t216\n"


def test_read_holders_of_a_driver_without_figures_counts_what_is_mapped_once(tmp_path: Path) -> None:
    root = make_process(tmp_path, files={"maps": MAPS}, fds={3: SILENT, 4: SILENT}, link="/dev/dri/card0")
    found = read_one(root)
    assert (found.gpu_mapped_bytes, found.gtt_bytes) == (8 * MIB, {})
    assert held_bytes(found, "ram") == 100 * KIB + 8 * MIB
    assert held_bytes(found, "cgroup:/x") == 100 * KIB


def test_read_holders_of_a_driver_with_figures_believes_them(tmp_path: Path) -> None:
    root = make_process(tmp_path, files={"maps": MAPS}, fds={3: fdinfo(gtt_kib=9)}, link="/dev/dri/card0")
    found = read_one(root)
    assert (found.gpu_mapped_bytes, found.gtt_bytes) == (0, {AMD: 9 * KIB})


def close_descriptors(root: Path, pid: int = 4242) -> None:
    """As the kernel shows a process to who may trace it, and may not read its files."""
    shutil.rmtree(root / f"proc/{pid}/fd")


def test_read_holders_whose_descriptors_are_closed_to_it_goes_by_what_fdinfo_says(tmp_path: Path) -> None:
    other = b"pos:\t0\nflags:\t02\nmnt_id:\t9\nino:\t7\n"
    root = make_process(tmp_path, fds={2: other, 3: fdinfo(vram_kib=7, gtt_kib=9), 4: fdinfo(vram_kib=7, gtt_kib=9)})
    close_descriptors(tmp_path)
    assert read_one(root) == Holder(4242, 1000, "trainer", 712345, 100 * KIB, {AMD: 7 * KIB}, {AMD: 9 * KIB})


def test_read_holders_whose_descriptors_are_closed_to_it_knows_a_silent_driver_by_its_inode(tmp_path: Path) -> None:
    card = tmp_path / "dev/dri/card0"
    card.parent.mkdir(parents=True)
    card.touch()
    silent = SILENT.replace(b"216", str(card.stat().st_ino).encode())
    root = make_process(tmp_path, files={"maps": MAPS}, fds={3: silent})
    close_descriptors(tmp_path)
    assert read_one(root).gpu_mapped_bytes == 8 * MIB


def test_read_holders_whose_descriptors_are_closed_to_it_names_malformed_files(tmp_path: Path) -> None:
    root = make_process(tmp_path, fds={3: b"drm-client-id:\tx\ndrm-pdev:\t0000:c4:00.0\n", 4: fdinfo(gtt_kib=1)})
    close_descriptors(tmp_path)
    reading = read_holders(root)
    assert [error.path for error in reading.errors] == ["/proc/4242/fdinfo/3"]
    assert reading.holders[0].gtt_bytes == {AMD: KIB}


@pytest.mark.parametrize(
    "maps",
    [
        None,
        b"",
        b"\n\0",
        b"7f0000400000-7f0000000000 rw-s 0 00:05 216 /dev/dri/card0\n",
        b"x-y rw-s 0 0:5 2 /dev/dri/card0",
    ],
)
def test_read_holders_of_mappings_that_say_nothing_counts_none(tmp_path: Path, maps: bytes | None) -> None:
    root = make_process(tmp_path, files={"maps": maps}, fds={3: SILENT}, link="/dev/dri/card0")
    assert read_one(root).gpu_mapped_bytes == 0


@pytest.mark.parametrize(
    "link",
    ["/dev/kfd", "socket:[1]", "/home/dev/dri/renderD128", "dev/dri/card0", "/dev/drivers/x", "/dev/accel/accel0"],
)
def test_read_holders_leaves_files_that_are_no_gpus_alone(tmp_path: Path, link: str) -> None:
    assert read_one(make_process(tmp_path, fds={3: b"drm-nonsense"}, link=link)).vram_bytes == {}


def test_read_holders_leaves_out_what_vanishes(tmp_path: Path) -> None:
    make_process(tmp_path, 10, {"stat": None})
    make_process(tmp_path, 11, {"status": None})
    make_process(tmp_path, 12, fds={3: None})
    (tmp_path / "proc/13").mkdir()
    (tmp_path / "proc/self").symlink_to("12")
    (tmp_path / "proc/meminfo").touch()
    reading = read_holders(SysRoot(tmp_path))
    assert reading.errors == ()
    assert [(holder.pid, holder.vram_bytes) for holder in reading.holders] == [(12, {})]


@pytest.mark.parametrize(
    "name",
    [b"", b")", b"(", b") S 1 1 1", b"a) R 2 (b", b" ", b"x\ny", b"\xff\xfe", b"1) S " + b"9 " * 40, "Größe".encode()],
)
def test_read_holders_finds_the_start_after_any_name(tmp_path: Path, name: bytes) -> None:
    assert read_one(make_process(tmp_path, files={"stat": stat(name)})).start_ticks == 712345


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"trainer", "trainer"),
        (b"", ""),
        (b"Web Content", "Web Content"),
        (rb"two\nlines", "two?lines"),
        (rb"back\\slash", "back\\slash"),
        (rb"back\\nslash", "back\\nslash"),
        (b"tab\there", "tab?here"),
        (b"\x1b[2J\x07", "?[2J?"),
        (b"\xff\xfe\x80", "???"),
        ("Größe".encode(), "Größe"),
        ("Grö".encode()[:-1], "Gr?"),  # cut at 15 bytes
        ("\u202egpj.exe".encode(), "?gpj.exe"),  # right to left
        ("a\u2028b\x85c\x1cd".encode(), "a?b?c?d"),  # what str.splitlines takes for the end of a line
        (b"Uid:\t0\t0\t0\t0", "Uid:?0?0?0?0"),
    ],
)
def test_read_holders_shows_a_name_in_printable_letters(tmp_path: Path, name: bytes, shown: str) -> None:
    holder = read_one(make_process(tmp_path, files={"status": status(name)}))
    assert (holder.name, holder.uid, holder.ram_bytes) == (shown, 1000, 100 * KIB)


def test_read_holders_of_a_name_that_looks_like_lines_believes_the_kernels(tmp_path: Path) -> None:
    name = "x\x0bRssAnon:\t1 kB\x85VmSwap:\t9999999 kB\rUid:\t0\t0\t0\t0".encode()
    holder = read_one(make_process(tmp_path, files={"status": status(name)}))
    assert (holder.uid, holder.ram_bytes) == (1000, 100 * KIB)


def test_read_holders_of_a_pid_that_changes_hands_has_the_old_ones_identity(tmp_path: Path) -> None:
    class Busy(SysRoot):
        """Where the pid is another process' after the first look at it."""

        def read_bytes(self, path: str, limit_bytes: int = READ_BYTES_MAX) -> bytes | None:
            data = super().read_bytes(path, limit_bytes)
            (tmp_path / "proc/4242/stat").write_bytes(stat(start=b"999"))
            (tmp_path / "proc/4242/status").write_bytes(status(b"innocent"))
            return data

    make_process(tmp_path)
    assert read_one(Busy(tmp_path)).start_ticks == 712345


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("stat", b""),
        ("stat", b"4242 (trainer) S 1 1 1\n"),
        ("stat", stat(start=b"-5")),
        ("stat", stat(start=b"9" * 5000)),
        ("stat", stat(start=b"x")),
        ("stat", stat().replace(b")", b"")),
        ("status", b""),
        ("status", b"Name:\ttrainer\n"),
        ("status", b"Uid:\t0\t0\t0\t0\n"),
        ("status", status().replace(b"1000\t", b"-1\t")),
        ("status", status().replace(b"1000\t", b"")),
        ("status", status(anon=b"100 MB")),
        ("status", status(anon=b"100")),
        ("status", status(anon=b"-1 kB")),
        ("status", status(anon=b"9" * 21 + b" kB")),
        ("status", status(anon=b"9" * 5000 + b" kB")),
        ("status", status(anon=b"")),
        ("status", status(more=b"VmSwap:\tx kB\n")),
    ],
)
def test_read_holders_names_the_malformed_file_and_reads_the_others(tmp_path: Path, file: str, data: bytes) -> None:
    make_process(tmp_path, 4242, {file: data})
    reading = read_holders(make_process(tmp_path, 4243))
    assert [holder.pid for holder in reading.holders] == [4243]
    assert [error.path for error in reading.errors] == [f"/proc/4242/{file}"]


def test_read_holders_of_a_malformed_gpu_file_names_it_and_keeps_the_process(tmp_path: Path) -> None:
    fds = {3: b"drm-client-id:\t1\ndrm-pdev:\tnowhere\n", 4: fdinfo(2, vram_kib=1)}
    reading = read_holders(make_process(tmp_path, fds=fds))
    assert [error.path for error in reading.errors] == ["/proc/4242/fdinfo/3"]
    assert [holder.vram_bytes for holder in reading.holders] == [{AMD: KIB}]


def test_read_holders_of_a_folder_for_a_file_names_it(tmp_path: Path) -> None:
    root = make_process(tmp_path, fds={3: None})
    (tmp_path / "proc/4242/fdinfo/3").mkdir()
    reading = read_holders(root)
    assert [error.path for error in reading.errors] == ["/proc/4242/fdinfo/3"]
    assert [holder.pid for holder in reading.holders] == [4242]


@pytest.mark.parametrize("file", ["stat", "status", "fdinfo/3"])
@given(data=st.binary(max_size=200))
def test_read_holders_of_arbitrary_bytes_is_a_reading_or_an_error_that_names_the_file(file: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_process(Path(folder), fds={3: fdinfo()})
        (Path(folder) / "proc/4242" / file).write_bytes(data)
        reading = read_holders(root)
    assert len(reading.errors) <= 1
    assert all(error.path == f"/proc/4242/{file}" for error in reading.errors)
    assert reading.holders or reading.errors


STATUS_LINES = st.builds(
    lambda key, value: key + b":\t" + value,
    st.sampled_from([b"Name", b"Uid", b"RssAnon", b"RssShmem", b"VmSwap"]),
    st.one_of(
        st.binary(max_size=24), st.just(b"1\t1\t1\t1"), st.integers(-1, 2**70).map(lambda number: b"%d kB" % number)
    ),
)


@given(lines=st.lists(STATUS_LINES, max_size=8))
def test_read_holders_of_arbitrary_status_lines_is_a_printable_holder_or_an_error(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reading = read_holders(make_process(Path(folder), files={"status": b"\n".join(lines)}))
    assert len(reading.holders) + len(reading.errors) == 1
    assert all(holder.name.isprintable() and holder.ram_bytes >= 0 for holder in reading.holders)


def test_read_holders_of_the_live_machine_finds_this_process_with_its_memory() -> None:
    held = bytearray(os.urandom(4096) * (48 * MIB // 4096))
    reading = read_holders(SysRoot())
    (holder,) = [holder for holder in reading.holders if holder.pid == os.getpid()]
    assert holder.uid == os.getuid()
    assert len(held) <= holder.ram_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert reading.errors == ()


def test_read_holders_of_a_real_process_reads_its_hostile_name() -> None:
    # PR_SET_NAME is 15. Source: prctl(2).
    source = r"import ctypes; ctypes.CDLL(None).prctl(15, b') R 9 (\x1b[2J\xff'); print('named', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"named\n"
        found = {holder.pid: holder for holder in read_holders(SysRoot()).holders}
        child.communicate(b"\n")
    assert found[child.pid].name == ") R 9 (?[2J?"
    assert found[child.pid].start_ticks >= found[os.getpid()].start_ticks > 0


def holder(pid: int, ram: int = 0, vram: dict[str, int] | None = None, gtt: dict[str, int] | None = None) -> Holder:
    return Holder(pid, 1000, f"p{pid}", 1, ram, vram or {}, gtt or {})


HOLDERS = (
    holder(1, ram=5),
    holder(2, ram=1, gtt={AMD: 9}, vram={NVIDIA: 1}),
    holder(3, ram=10, vram={AMD: 3, NVIDIA: 7}),
    holder(4),
    holder(5, gtt={AMD: 2, NVIDIA: 3}),
)


@pytest.mark.parametrize(
    ("resource", "pids"),
    [
        ("ram", [2, 3, 1, 5]),
        (f"vram:{AMD}", [3]),
        (f"vram:{NVIDIA}", [3, 2]),
        (f"gtt:{AMD}", [2, 5]),
        ("gtt:0000:00:00.0", []),
    ],
)
def test_largest_of_orders_by_what_is_held_and_leaves_out_who_holds_none(resource: str, pids: list[int]) -> None:
    assert [found.pid for found in largest_of(HOLDERS, resource, 9)] == pids
    assert [found.pid for found in largest_of(reversed(HOLDERS), resource, 2)] == pids[:2]
    assert largest_of(HOLDERS, resource, 0) == ()


def test_largest_ram_holders_counts_what_drivers_hold_for_them() -> None:
    assert [found.pid for found in largest_ram_holders(HOLDERS, 3)] == [2, 3, 1]
    assert [held_bytes(found, "ram") for found in HOLDERS] == [5, 10, 10, 0, 5]


@pytest.mark.parametrize("resource", ["", "swap", "RAM", "ram:x", "cpu:0000:c4:00.0"])
def test_held_bytes_of_no_resource_is_an_error(resource: str) -> None:
    with pytest.raises(ValueError, match="no such resource"):
        held_bytes(HOLDERS[0], resource)
