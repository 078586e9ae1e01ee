import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.cgroup import CgroupLevel, CgroupReading, read_cgroup, read_group, read_levels, read_members
from greenboost_py.sensors.cgroup_place import CgroupPlace, locate_cgroup

MIB, GIB = 1 << 20, 1 << 30

V2 = "27 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"

ANN = "/sys/fs/cgroup/user.slice/user-1000.slice"
APPS = f"{ANN}/user@1000.service/app.slice"
JOB = "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_4711"

MACHINES: list[tuple[str, str | int, tuple[tuple[str, int, int, int], ...]]] = [
    # limit, usage, reclaimable; in bytes
    ("strix-halo", "self", (("/sys/fs/cgroup/system.slice/greenboost.service", 192 * MIB, 21 * MIB, 2 * MIB),)),
    ("strix-halo", 8123, ((APPS, 32 * GIB, 18 * GIB, 8 * GIB), (ANN, 96 * GIB, 24 * GIB, 9 * GIB))),
    ("strix-halo", 1543, ((ANN, 96 * GIB, 24 * GIB, 9 * GIB),)),
    ("strix-halo", 2, ()),
    ("amd-discrete", "self", (("/sys/fs/cgroup/system.slice", 2 * GIB, 1200 * MIB, 300 * MIB),)),
    (
        "amd-discrete",
        40211,
        (
            ("/sys/fs/cgroup/user.slice/user-1001.slice/session-9.scope", 11 * GIB, 10 * GIB, 256 * MIB),
            ("/sys/fs/cgroup/user.slice/user-1001.slice", 15 * GIB, 13 * GIB, 2 * GIB),
        ),
    ),
    ("nvidia-desktop", "self", ()),
    ("nvidia-desktop", 5120, ()),
    ("two-gpus", "self", ()),
    (
        "two-gpus",
        7500,
        (
            (f"{JOB}/step_0/user", 16 * GIB, 11 * GIB, 5 * GIB),
            (f"{JOB}/step_0", 32 * GIB, 11 * GIB, 5 * GIB),
            (JOB, 32 * GIB, 11 * GIB, 5 * GIB),
        ),
    ),
    ("hybrid-laptop", "self", ((ANN, 14 * GIB, 12 * GIB, 300 * MIB),)),
    (
        "hybrid-laptop",
        4466,
        ((f"{APPS}/app-firefox.scope", 4 * GIB, 4 * GIB, 100 * MIB), (ANN, 14 * GIB, 12 * GIB, 300 * MIB)),
    ),
    ("container", "self", (("/sys/fs/cgroup", 8 * GIB, 6 * GIB, 384 * MIB),)),
    ("container", 7, (("/sys/fs/cgroup", 8 * GIB, 6 * GIB, 384 * MIB),)),
    ("kernel-gpuactive", "self", ()),
    ("kernel-gpuactive", 6120, (("/sys/fs/cgroup/system.slice/ollama.service", 24 * GIB, 8 * GIB, 4 * GIB),)),
    ("cgroup-v1", "self", (("/sys/fs/cgroup/memory/batch", 4 * GIB, 3500 * MIB, 200 * MIB),)),
    ("cgroup-v1", 2040, (("/sys/fs/cgroup/memory/batch", 4 * GIB, 3500 * MIB, 200 * MIB),)),
    ("cgroup-v1", 812, ()),
]


@pytest.mark.parametrize(("machine", "pid", "levels"), MACHINES)
def test_read_cgroup_of_a_machines_process_is_every_limit_above_it(
    repository: Path, machine: str, pid: int, levels: tuple[tuple[str, int, int, int], ...]
) -> None:
    reading = read_cgroup(SysRoot(repository / "tests/sysroots" / machine), pid)
    assert reading is not None
    assert reading.version == (1 if machine == "cgroup-v1" else 2)
    assert reading.levels == tuple(CgroupLevel(*level) for level in levels)


Files = Mapping[str, str | bytes | None]


def group(root: Path, files: Files | None = None, path: str = "a", version: int = 2) -> SysRoot:
    """A process 77 in a group with a limit of 1 GiB and 512 MiB in use; `files` replaces files, None removes one."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    limit, usage, reclaimable = names[version]
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, str | bytes | None] = {
        limit: f"{GIB}\n",
        usage: f"{512 * MIB}\n",
        "memory.stat": f"anon 5\n{reclaimable} {64 * MIB}\nactive_file 7\n",
    }
    content.update(files or {})
    for name, text in content.items():
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "proc/77").mkdir(parents=True, exist_ok=True)
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/77/cgroup").write_text(f"0::/{path}\n" if version == 2 else f"1:memory:/{path}\n")
    mounts = V2 if version == 2 else V2.replace("cgroup2", "cgroup").replace("rw\n", "rw,memory\n")
    (root / "proc/self/mountinfo").write_text(mounts)
    return SysRoot(root)


def levels_of(root: SysRoot) -> tuple[tuple[int, int, int], ...]:
    reading = read_cgroup(root, 77)
    assert reading is not None
    return tuple((level.limit_bytes, level.usage_bytes, level.reclaimable_bytes) for level in reading.levels)


NO_LIMIT = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("version", "files", "levels"),
    [
        (2, {}, ((GIB, 512 * MIB, 64 * MIB),)),
        (2, {"memory.high": "max\n"}, ((GIB, 512 * MIB, 64 * MIB),)),
        (2, {"memory.high": "4096\n"}, ((4096, 512 * MIB, 64 * MIB),)),
        (2, {"memory.high": f"{2 * GIB}\n"}, ((GIB, 512 * MIB, 64 * MIB),)),
        (2, {"memory.max": "max\n", "memory.high": f"{2 * GIB}"}, ((2 * GIB, 512 * MIB, 64 * MIB),)),
        (2, {"memory.max": "max\n", "memory.high": "max\n"}, ()),
        (2, {"memory.max": None}, ()),
        (2, {"memory.max": "0\n"}, ((0, 512 * MIB, 64 * MIB),)),
        (2, {"memory.max": f"{2**62 - 1}\n"}, ((2**62 - 1, 512 * MIB, 64 * MIB),)),
        (2, {"memory.max": f"{2**62}\n"}, ()),
        (2, {"memory.current": None}, ()),  # removed between two looks
        (2, {"memory.stat": None}, ((GIB, 512 * MIB, 0),)),
        (2, {"memory.stat": "total_inactive_file 5\nxinactive_file 6\n"}, ((GIB, 512 * MIB, 0),)),
        (2, {"memory.stat": "inactive_file 3\ninactive_file 5\n"}, ((GIB, 512 * MIB, 3),)),
        (2, {"memory.stat": "inactive_file 3"}, ((GIB, 512 * MIB, 3),)),
        (1, {}, ((GIB, 512 * MIB, 64 * MIB),)),
        (1, {"memory.limit_in_bytes": NO_LIMIT}, ()),
        (1, {"memory.limit_in_bytes": None, "memory.max": "4096\n"}, ()),
        (1, {"memory.high": "4096\n"}, ((GIB, 512 * MIB, 64 * MIB),)),
        (1, {"memory.stat": "inactive_file 5\n"}, ((GIB, 512 * MIB, 0),)),
    ],
)
def test_read_cgroup_takes_the_lower_of_a_groups_limits(
    tmp_path: Path, version: int, files: Files, levels: tuple[tuple[int, int, int], ...]
) -> None:
    assert levels_of(group(tmp_path, files, version=version)) == levels


@pytest.mark.parametrize(
    ("limit", "usage", "reclaimable", "headroom"),
    [
        # As tests/shim/unit/test_host_memory.py has it for the shim.
        (GIB, 0, 0, GIB),
        (GIB, GIB - MIB, 0, MIB),
        (GIB, GIB, MIB, MIB),
        (GIB, 2 * GIB, 0, 0),
        (GIB, MIB, GIB, GIB),
        (0, 0, 0, 0),
    ],
)
def test_headroom_is_what_may_still_be_taken(limit: int, usage: int, reclaimable: int, headroom: int) -> None:
    assert CgroupLevel("/a", limit, usage, reclaimable).headroom_bytes == headroom


def test_the_tightest_level_is_the_one_with_least_headroom() -> None:
    inner, tight = CgroupLevel("/a/b/c", 10, 1, 0), CgroupLevel("/a/b", 20, 19, 5)
    equal, outer = CgroupLevel("/a", 6, 0, 0), CgroupLevel("/", 100, 50, 0)
    reading = CgroupReading("/a/b/c", 2, (inner, tight, equal, outer))
    assert reading.tightest is tight
    assert (reading.limit_bytes, reading.usage_bytes) == (20, 19)
    assert (reading.reclaimable_bytes, reading.headroom_bytes) == (5, 6)


def test_a_reading_without_levels_limits_nothing() -> None:
    reading = CgroupReading("/", 2, ())
    assert reading.tightest is None
    assert reading.limit_bytes is reading.usage_bytes is reading.reclaimable_bytes is reading.headroom_bytes is None


def test_read_cgroup_of_a_process_that_ended_is_none(tmp_path: Path) -> None:
    assert read_cgroup(group(tmp_path), 78) is None


def test_read_levels_of_a_group_that_was_removed_has_those_above(tmp_path: Path) -> None:
    root = group(tmp_path)
    place = CgroupPlace("/a/b", 2, ("/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"))
    assert [level.path for level in read_levels(root, place)] == ["/sys/fs/cgroup/a"]


def test_read_levels_opens_no_more_files_than_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group(tmp_path, path="limited")
    root = group(tmp_path, {"memory.max": "max\n", "memory.high": "max\n"}, path="limited/free")
    place = locate_cgroup(root, 77)
    opened = []
    assert place is not None
    read_bytes = SysRoot.read_bytes

    def count(self: SysRoot, path: str) -> bytes | None:
        opened.append(path.removeprefix("sys/fs/cgroup"))
        return read_bytes(self, path)

    monkeypatch.setattr(SysRoot, "read_bytes", count)
    assert len(read_levels(root, place)) == 1
    assert opened == [
        *("/limited/free/memory.max", "/limited/free/memory.high"),
        *("/limited/memory.max", "/limited/memory.high", "/limited/memory.current", "/limited/memory.stat"),
        *("/memory.max", "/memory.high"),
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_read_group_is_the_level_of_a_folder(tmp_path: Path, version: int) -> None:
    root = group(tmp_path, version=version)
    level = CgroupLevel("/sys/fs/cgroup/a", GIB, 512 * MIB, 64 * MIB)
    assert read_group(root, "/sys/fs/cgroup/a") == level
    assert read_group(root, "/sys/fs/cgroup") is None
    assert read_group(root, "/sys/fs/cgroup/gone") is None


def test_read_members_of_a_group_are_those_below_too(tmp_path: Path) -> None:
    root = group(tmp_path, {"cgroup.procs": "77\n5\n0\n"})
    group(tmp_path, {"cgroup.procs": ""}, path="a/empty")
    group(tmp_path, {"cgroup.procs": "6\n"}, path="a/empty/b")
    group(tmp_path, {"cgroup.procs": "9\n"}, path="other")
    assert read_members(root, "/sys/fs/cgroup/a") == {5, 6, 77}
    assert read_members(root, "/sys/fs/cgroup/a/empty/b") == {6}
    assert read_members(root, "/sys/fs/cgroup/gone") == frozenset()


@pytest.mark.parametrize("text", ["x\n", "-1\n", "1 2\n", "9" * 30])
def test_read_members_of_a_malformed_list_is_an_error(tmp_path: Path, text: str) -> None:
    root = group(tmp_path, {"cgroup.procs": text})
    with pytest.raises(SensorError, match=r"^/sys/fs/cgroup/a/cgroup.procs: a process is malformed"):
        read_members(root, "/sys/fs/cgroup/a")


MALFORMED = [
    "",
    "\n",
    "-1\n",
    "1 2\n",
    " 1\n",
    "1k\n",
    "Max\n",
    "max max\n",
    "9223372036854775808\n",
    "9" * 5000,
    "1\0",
]


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize("name", ["memory.max", "memory.high", "memory.current"])
def test_read_cgroup_of_a_malformed_number_is_an_error_that_names_the_file(
    tmp_path: Path, name: str, text: str
) -> None:
    root = group(tmp_path, {name: text})
    with pytest.raises(SensorError, match=rf"^/sys/fs/cgroup/a/{name}: the number of bytes is malformed"):
        read_cgroup(root, 77)


@pytest.mark.parametrize("value", ["", "-1", "x", "1 2", "9223372036854775808"])
def test_read_cgroup_of_a_malformed_statistic_is_an_error_that_names_the_file(tmp_path: Path, value: str) -> None:
    root = group(tmp_path, {"memory.stat": f"anon 5\ninactive_file {value}\n"})
    with pytest.raises(SensorError, match=r"^/sys/fs/cgroup/a/memory.stat: "):
        read_cgroup(root, 77)


def any_number() -> st.SearchStrategy[bytes]:
    return st.binary(max_size=24) | st.sampled_from([b"max\n", b"0\n", b"4096\n", b"4096", b"1152921504606846976\n"])


@given(
    any_number(),
    any_number(),
    any_number(),
    st.binary(max_size=40) | st.sampled_from([b"inactive_file 4096\n", b"inactive_file "]),
)
def test_read_cgroup_of_any_bytes_is_a_reading_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, limit: bytes, high: bytes, usage: bytes, stat: bytes
) -> None:
    files = {"memory.max": limit, "memory.high": high, "memory.current": usage, "memory.stat": stat}
    root = group(tmp_path_factory.getbasetemp(), files)
    try:
        reading = read_cgroup(root, 77)
    except SensorError as error:
        assert error.path.startswith("/sys/fs/cgroup/a/memory.")
        return
    assert reading is not None
    assert reading.tightest is None or 0 <= reading.tightest.headroom_bytes <= reading.tightest.limit_bytes


def test_read_cgroup_of_the_live_process_is_consistent() -> None:
    reading = read_cgroup(SysRoot())
    if reading is None:
        pytest.skip("nothing counts this process' memory, or its group is not mounted here")
    for level in reading.levels:
        assert Path(level.path).is_dir()
        assert 0 <= level.headroom_bytes <= level.limit_bytes


@pytest.fixture
def limited_child() -> Iterator[tuple[int, str]]:
    """The pid of a process in a real group of its own with a limit of 64 MiB, and the group's folder."""
    place = locate_cgroup(SysRoot())
    if place is None:
        pytest.skip("nothing counts this process' memory, or its group is not mounted here")
    # At the top: below, v2 has no controllers for a group beside processes.
    folder = Path(place.groups[-1], f"greenboost-test-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    child = None
    try:
        name = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
        try:
            (folder / name).write_text(f"{64 * MIB}")
        except OSError as error:
            pytest.skip(f"no limit can be set on a cgroup here: {error}")
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        (folder / "cgroup.procs").write_text(f"{child.pid}")
        yield child.pid, str(folder)
    finally:
        if child is not None:
            child.communicate(b"\n")
        folder.rmdir()


def test_read_cgroup_of_a_real_process_finds_its_real_limit(limited_child: tuple[int, str]) -> None:
    pid, folder = limited_child
    reading = read_cgroup(SysRoot(), pid)
    assert reading is not None
    assert (reading.levels[0].path, reading.levels[0].limit_bytes) == (folder, 64 * MIB)
    assert 0 < reading.levels[0].headroom_bytes <= 64 * MIB
    assert {level.path for level in reading.levels[1:]} <= {str(Path(folder).parent)}
    assert read_group(SysRoot(), folder) is not None
    assert read_members(SysRoot(), folder) == {pid}
