import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import lay

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.cgroup_place import CgroupMount, CgroupPlace, locate_cgroup, read_cgroup_mounts

V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V2 = "27 23 0:25 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHERS = (
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /memory rw - cgroup cgroup rw,memoryx\n"
    "42 31 0:39 / /sys/fs/bpf rw - cgroup3 cgroup2 rw,memory\n"
    "43 31 0:39 / /a rw -\n"
)


def proc(root: Path, cgroup: str | bytes, mountinfo: str | bytes, pid: int | str = "self") -> SysRoot:
    lay(root, {f"proc/{pid}/cgroup": cgroup, "proc/self/mountinfo": mountinfo})
    return SysRoot(root)


def place(version: int, path: str, *groups: str) -> CgroupPlace:
    return CgroupPlace(path, version, groups)


APPS = "/user.slice/user-1000.slice/user@1000.service/app.slice"


def folders(path: str, top: str = "/sys/fs/cgroup") -> tuple[str, ...]:
    parts = path.strip("/").split("/")
    return tuple("/".join([top, *parts[:n]]) for n in range(len(parts), -1, -1))


MACHINES: list[tuple[str, str | int, CgroupPlace | None]] = [
    ("strix-halo", "self", place(2, "/system.slice/greenboost.service", *folders("/system.slice/greenboost.service"))),
    ("strix-halo", 8130, place(2, f"{APPS}/app-llama.scope", *folders(f"{APPS}/app-llama.scope"))),
    ("strix-halo", 2, place(2, "/", "/sys/fs/cgroup")),
    ("strix-halo", 4, None),
    ("two-gpus", 3100, place(2, f"{APPS[:27]}/session-3.scope", *folders(f"{APPS[:27]}/session-3.scope"))),
    ("container", "self", place(2, "/", "/sys/fs/cgroup")),
    ("cgroup-v1", "self", place(1, "/batch/node/daemon", *folders("/batch/node/daemon", "/sys/fs/cgroup/memory"))),
    ("cgroup-v1", 812, place(1, "/", "/sys/fs/cgroup/memory")),
]


@pytest.mark.parametrize(("machine", "pid", "expected"), MACHINES)
def test_locate_cgroup_of_a_machines_process_is_every_group_above_it(
    repository: Path, machine: str, pid: int, expected: CgroupPlace | None
) -> None:
    assert locate_cgroup(SysRoot(repository / "tests/sysroots" / machine), pid) == expected


def test_locate_cgroup_of_the_live_process_is_a_folder_that_is_there() -> None:
    root = SysRoot()
    own = locate_cgroup(root)
    assert locate_cgroup(root, os.getpid()) == own
    assert locate_cgroup(root, mounts=read_cgroup_mounts(root)) == own
    if own is None:
        pytest.skip("nothing counts this process' memory, or its group is not mounted here")
    assert f":{own.path}\n" in Path("/proc/self/cgroup").read_text()
    assert str(os.getpid()) in Path(own.groups[0], "cgroup.procs").read_text().split()
    assert [Path(group).parent for group in own.groups[:-1]] == [Path(group) for group in own.groups[1:]]
    assert os.path.ismount(own.groups[-1])


def test_read_cgroup_mounts_finds_those_that_may_count_memory(tmp_path: Path) -> None:
    root = proc(tmp_path, "", OTHERS + V1 + V2.replace("/sys/fs/cgroup ", "/my\\040own\\134 "))
    assert read_cgroup_mounts(root) == (
        CgroupMount(1, "/", "/sys/fs/cgroup/memory"),
        CgroupMount(2, "/", "/my own\\"),
    )


def test_read_cgroup_mounts_without_proc_finds_none(tmp_path: Path) -> None:
    assert read_cgroup_mounts(SysRoot(tmp_path)) == ()
    assert locate_cgroup(SysRoot(tmp_path)) is None


POD = "/kubepods.slice/pod7.slice/cri-1.scope"
HOST = "28 23 0:25 /../../.. /host/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/", POD),
        ("/worker", f"{POD}/worker"),
        ("/..", "/kubepods.slice/pod7.slice"),
        ("/../cri-2.scope", "/kubepods.slice/pod7.slice/cri-2.scope"),
        ("/../../pod8.slice/cri-3.scope", "/kubepods.slice/pod8.slice/cri-3.scope"),
        ("/../../../system.slice/ssh.service", "/system.slice/ssh.service"),
        ("/../../..", ""),
        ("/../../../..", None),
        ("/../../../../a", None),
    ],
)
@pytest.mark.parametrize("mountinfo", [V2 + HOST, HOST + V2])
def test_locate_cgroup_in_a_container_that_sees_the_whole_hierarchy_finds_every_name(
    tmp_path: Path, path: str, group: str | None, mountinfo: str
) -> None:
    top = "/host/sys/fs/cgroup"
    for folder in (POD, "/kubepods.slice/pod7.slice/cri-2.scope", "/kubepods.slice/a/b", "/system.slice/a/b"):
        (tmp_path / f"{top}{folder}"[1:]).mkdir(parents=True)
    (tmp_path / "sys/fs").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").symlink_to(f"{top}{POD}")  # one inode, in two places
    expected = None if group is None else place(2, path, *(folders(group, top) if group else (top,)))
    assert locate_cgroup(proc(tmp_path, f"0::{path}\n", mountinfo, pid=77), 77) == expected


def test_locate_cgroup_in_a_container_that_cannot_find_itself_knows_the_top_alone(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / f"host/sys/fs/cgroup{POD}").mkdir(parents=True)
    root = proc(tmp_path, "0::/../../x/y\n", V2 + HOST, pid=77)
    assert locate_cgroup(root, 77) == place(2, "/../../x/y", "/host/sys/fs/cgroup")
    own = proc(tmp_path, "0::/\n", V2 + HOST, pid=78)
    assert locate_cgroup(own, 78) == place(2, "/", "/sys/fs/cgroup")


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "expected"),
    [
        ("0::/a/b\n", V2, ("/a/b", 2, ("/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"))),
        ("0::/with:colon\n", V2, ("/with:colon", 2, ("/sys/fs/cgroup/with:colon", "/sys/fs/cgroup"))),
        ("0::/gone (deleted)\n", V2, ("/gone (deleted)", 2, ("/sys/fs/cgroup/gone (deleted)", "/sys/fs/cgroup"))),
        ("0::/a/\n", V2, ("/a/", 2, ("/sys/fs/cgroup/a", "/sys/fs/cgroup"))),
        # Both versions: memory is in v1 if it has the controller, else in v2.
        ("5:cpu,memory:/m\n0::/u\n", V2 + V1, ("/m", 1, ("/sys/fs/cgroup/memory/m", "/sys/fs/cgroup/memory"))),
        ("5:cpu:/m\n0::/u\n", V1 + V2, ("/u", 2, ("/sys/fs/cgroup/u", "/sys/fs/cgroup"))),
        ("5:memory:/m\n0::/u\n", V2, None),
        ("5:memoryx:/m\n", V1, None),
        ("0::/a\n", V1, None),
        ("0::/a\n", "", None),
        ("", V1 + V2, None),
        # A container sees its own part of the hierarchy.
        (
            "0::/pod/a/b\n",
            V2.replace("0:25 / ", "0:25 /pod/a "),
            ("/pod/a/b", 2, ("/sys/fs/cgroup/b", "/sys/fs/cgroup")),
        ),
        ("0::/pod/a\n", V2.replace("0:25 / ", "0:25 /pod/a "), ("/pod/a", 2, ("/sys/fs/cgroup",))),
        ("0::/pod/ab\n", V2.replace("0:25 / ", "0:25 /pod/a "), None),
        ("0::/pod\n", V2.replace("0:25 / ", "0:25 /pod/a "), None),
        # A process outside of our cgroup namespace.
        ("0::/../other\n", V2, None),
        ("0::/..\n", V2, None),
        ("0::/a/../b\n", V2, None),
        # What is mounted begins above our namespace's root: by groups without a name here, or with one.
        ("0::/\n", V2.replace("0:25 / ", "0:25 /../.. "), ("/", 2, ("/sys/fs/cgroup",))),
        ("0::/a\n", V2.replace("0:25 / ", "0:25 /.. "), ("/a", 2, ("/sys/fs/cgroup",))),
        ("0::/../a\n", V2.replace("0:25 / ", "0:25 /../.. "), ("/../a", 2, ("/sys/fs/cgroup",))),
        ("0::/../a\n", V2.replace("0:25 / ", "0:25 /.. "), ("/../a", 2, ("/sys/fs/cgroup/a", "/sys/fs/cgroup"))),
        ("0::/../../a\n", V2.replace("0:25 / ", "0:25 /.. "), None),
        ("0::/a\n", V2.replace("0:25 / ", "0:25 /../b "), None),
        # Of several mounts, the one that shows most.
        (
            "0::/a/b\n",
            V2.replace("0:25 / /sys/fs/cgroup", "0:25 /a/b /deep") + V2.replace("/sys/fs/cgroup", "/whole"),
            ("/a/b", 2, ("/whole/a/b", "/whole/a", "/whole")),
        ),
        (
            "0::/a/b\n",
            V2.replace("0:25 / ", "0:25 /c ") + V2.replace("0:25 / /sys/fs/cgroup", "0:25 /a/b /deep"),
            ("/a/b", 2, ("/deep",)),
        ),
    ],
)
def test_locate_cgroup_finds_the_groups_up_to_the_top_of_what_is_mounted(
    tmp_path: Path, cgroup: str, mountinfo: str, expected: tuple[str, int, tuple[str, ...]] | None
) -> None:
    found = locate_cgroup(proc(tmp_path, cgroup, OTHERS + mountinfo, pid=77), 77)
    assert found == (None if expected is None else CgroupPlace(*expected))


@pytest.mark.parametrize(
    "cgroup",
    [
        *("\n", "0\n", "0:\n", "0::\n", "0::a\n", "rubbish\n0::/a\n", "0::/a\n\n", "0::/a\0b\n"),
        f"0::/{'a/' * 2048}\n",
    ],
)
def test_locate_cgroup_of_a_malformed_cgroup_file_is_an_error(tmp_path: Path, cgroup: str) -> None:
    with pytest.raises(SensorError, match=r"^/proc/77/cgroup: a line is malformed"):
        locate_cgroup(proc(tmp_path, cgroup, V2, pid=77), 77)


@pytest.mark.parametrize(
    "mountinfo",
    [
        "27 23 0:25 / - cgroup2 cgroup2 rw\n",
        "27 23 0:25 a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "27 23 0:25 / sys rw - cgroup2 cgroup2 rw\n",
        "27 23 0:25 / /a\0b rw - cgroup2 cgroup2 rw\n",
        "27 23 0:25 / /a\\000b rw - cgroup2 cgroup2 rw\n",
        "27 23 0:25 / /sys/../etc rw - cgroup2 cgroup2 rw\n",
        " - cgroup cgroup rw,memory\n",
    ],
)
def test_locate_cgroup_of_a_malformed_mountinfo_is_an_error(tmp_path: Path, mountinfo: str) -> None:
    with pytest.raises(SensorError, match=r"^/proc/self/mountinfo: the line of a cgroup is malformed"):
        locate_cgroup(proc(tmp_path, "0::/a\n", mountinfo))


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b"0::", b"4:memory:", b"/", b"a", b"..", b":", b"\n", b"\xff", b"\0"])).map(b"".join),
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from(
            [V1.encode(), V2.encode(), b"1 2 3 /", b"..", b"/a", b" ", b"-", b"cgroup2", b"\n", b"\\000", b"\xff"]
        )
    ).map(b"".join),
)
def test_locate_cgroup_of_any_bytes_is_a_place_none_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, cgroup: bytes, mountinfo: bytes
) -> None:
    try:
        found = locate_cgroup(proc(tmp_path_factory.getbasetemp(), cgroup, mountinfo))
    except SensorError as error:
        assert error.path in ("/proc/self/cgroup", "/proc/self/mountinfo")
        return
    assert found is None or (found.groups and ".." not in "/".join(found.groups).split("/"))
