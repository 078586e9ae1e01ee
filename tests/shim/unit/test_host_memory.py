"""What the kernel's files say about memory, parsed: as kernels write them, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_under_test import load

ffi, lib = load()
UNKNOWN = 2**64 - 1
MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "total", "available"),
    [
        ("MemTotal:       24617100 kB\nMemFree: 1 kB\nMemAvailable:   23000000 kB\n", 24617100 << 10, 23000000 << 10),
        ("MemTotal: 10 kB\n", 10 << 10, UNKNOWN),
        ("", UNKNOWN, UNKNOWN),
        ("MemTotal: -5 kB\nMemAvailable: 7 MB\n", UNKNOWN, UNKNOWN),
        ("MemTotal: 18446744073709551615 kB\nMemAvailable: 99999999999999999999999 kB\n", UNKNOWN, UNKNOWN),
        ("XMemTotal: 5 kB\nMemAvailable:\n", UNKNOWN, UNKNOWN),
        ("MemAvailable: 3 kB", UNKNOWN, UNKNOWN),
    ],
)
def test_meminfo_parse_reads_whole_lines_only(text, total, available):
    info = lib.gb_meminfo_parse(text.encode())
    assert (info.total, info.available) == (total, available)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("max\n", UNKNOWN),
        ("0\n", 0),
        ("1073741824", GIB),
        ("12 34\n", UNKNOWN),
        ("", UNKNOWN),
        ("-1\n", UNKNOWN),
        ("1k\n", UNKNOWN),
    ],
)
def test_counter_parse_takes_one_number(text, value):
    assert lib.gb_counter_parse(text.encode()) == value


def test_stat_parse_finds_the_key_at_a_line_start():
    text = b"anon 5\nactive_file 1\ninactive_file 4096\ntotal_inactive_file 7\n"
    assert lib.gb_stat_parse(text, b"inactive_file") == 4096
    assert lib.gb_stat_parse(text, b"total_inactive_file") == 7
    assert lib.gb_stat_parse(text, b"file") == 0


@pytest.mark.parametrize(
    ("limit", "usage", "reclaimable", "headroom"),
    [
        (UNKNOWN, 5, 0, UNKNOWN),
        (GIB, UNKNOWN, 0, UNKNOWN),
        (0x7FFFFFFFFFFFF000, 5, 0, UNKNOWN),
        (GIB, 0, 0, GIB),
        (GIB, GIB - MIB, 0, MIB),
        (GIB, GIB, MIB, MIB),
        (GIB, 2 * GIB, 0, 0),
        (GIB, MIB, GIB, GIB),
    ],
)
def test_cgroup_headroom_is_what_may_still_be_taken(limit, usage, reclaimable, headroom):
    assert lib.gb_cgroup_headroom(limit, usage, reclaimable) == headroom


def cgroup_path(text, controller, size=64):
    path = ffi.new("char[]", size)
    return ffi.string(path).decode() if lib.gb_cgroup_path(text.encode(), controller.encode(), path, size) else None


def test_cgroup_path_finds_the_controllers_line():
    hybrid = "9:name=systemd:/a\n4:cpu,memory:/job/one\n0::/unified\n"
    assert cgroup_path(hybrid, "memory") == "/job/one"
    assert cgroup_path(hybrid, "") == "/unified"
    assert cgroup_path("4:memoryx:/no\n", "memory") is None
    assert cgroup_path("garbage\n\n::\n0::/with:colon\n", "") in ("", "/with:colon")
    assert cgroup_path("4:memory:/" + "x" * 100 + "\n", "memory") is None


def cgroup_mount(text, kind, controller, size=128):
    point, root = ffi.new("char[]", size), ffi.new("char[]", size)
    found = lib.gb_cgroup_mount(text.encode(), kind.encode(), controller.encode(), point, root, size)
    return (ffi.string(point).decode(), ffi.string(root).decode()) if found else None


V1 = "33 24 0:29 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
V2 = "30 23 0:26 /kube/pod /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"


def test_cgroup_mount_finds_point_and_root():
    assert cgroup_mount(V2 + V1, "cgroup", "memory") == ("/sys/fs/cgroup/memory", "/")
    assert cgroup_mount(V1 + V2, "cgroup2", "") == ("/sys/fs/cgroup", "/kube/pod")
    assert cgroup_mount(V1.replace("rw,memory", "rw,cpu"), "cgroup", "memory") is None
    assert cgroup_mount(V2.replace("/sys/fs/cgroup ", "/a\\040b "), "cgroup2", "") == ("/a b", "/kube/pod")
    assert cgroup_mount("1 2 3\n - - - cgroup2\n\n", "cgroup2", "") is None
    assert cgroup_mount(V1, "cgroup", "memory", size=8) is None


@given(st.text(st.sampled_from("019:/,- \n\\max.cgroup2memory"), max_size=120))
def test_parsers_survive_any_text(text):
    lib.gb_meminfo_parse(text.encode())
    lib.gb_counter_parse(text.encode())
    cgroup_path(text, "memory", size=8)
    point = cgroup_mount(text, "cgroup2", "", size=16)
    assert point is None or all(len(part) < 16 for part in point)


@pytest.mark.parametrize(("total", "reserve"), [(0, 256 * MIB), (16 * GIB, GIB), (512 * GIB, 4 * GIB)])
def test_host_reserve_default_is_a_share_within_bounds(total, reserve):
    assert lib.gb_host_reserve_default(total) == reserve


@pytest.mark.parametrize(
    ("limit", "reserve", "kept"),
    [(192 * MIB, 256 * MIB, 12 * MIB), (16 * GIB, 256 * MIB, 256 * MIB), (0, GIB, 0), (UNKNOWN, 4 * GIB, 4 * GIB)],
)
def test_group_reserve_is_the_machines_or_a_share_of_the_group(limit, reserve, kept):
    assert lib.gb_group_reserve(limit, reserve) == kept


@pytest.mark.parametrize(
    ("available", "cgroup", "reserve", "pending", "budget"),
    [
        (10 * GIB, UNKNOWN, GIB, 0, 9 * GIB),
        (10 * GIB, 2 * GIB, GIB, MIB, GIB - MIB),
        (UNKNOWN, UNKNOWN, 0, 0, 0),
        (GIB, UNKNOWN, GIB, 0, 0),
        (GIB, UNKNOWN, UNKNOWN, UNKNOWN, 0),
    ],
)
def test_host_budget_grants_the_smaller_less_what_is_kept(available, cgroup, reserve, pending, budget):
    assert lib.gb_host_budget(available, cgroup, reserve, pending) == budget
