"""Where a process' memory cgroup is: found from /proc, kept by who asks often."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.cgroup_names import find_group
from greenboost_py.sensors.kernel_text import malformed, unescape_path

_MOUNTINFO = "proc/self/mountinfo"

_PATH_BYTES_MAX = 4096
"""PATH_MAX: no path of the kernel's is longer."""

_UP = ".."


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """A mounted hierarchy, or a part of one, that may count memory.

    Attributes:
        version: 1 or 2.
        root: what of it is mounted, as seen from our cgroup namespace: `/`, `/docker/ab12`, or `/..` and the like where
            that is above the namespace's own root.
        point: where.
    """

    version: int
    root: str
    point: str


@dataclass(frozen=True, slots=True)
class CgroupPlace:
    """Where a process' group is. It stays right until somebody moves the process.

    Attributes:
        path: the group, as /proc/PID/cgroup says.
        version: 1 or 2.
        groups: the folders of the group and of those above it, its own first, the top of what is mounted last. Two
            processes that share a group have it under the same name.
    """

    path: str
    version: int
    groups: tuple[str, ...]


def read_cgroup_mounts(root: SysRoot) -> tuple[CgroupMount, ...]:
    """The mounted hierarchies that may count memory, as this process sees them.

    Raises:
        SensorError: mountinfo is malformed.
    """
    mounts = []
    for line in (root.read_bytes(_MOUNTINFO) or b"").split(b"\n"):
        # id parent major:minor ROOT POINT options optional... - TYPE source SUPER-OPTIONS
        head, _, tail = line.partition(b" - ")
        kind, _, rest = tail.partition(b" ")
        if kind not in (b"cgroup", b"cgroup2"):
            continue
        fields = [unescape_path(field) for field in head.split(b" ")]
        if len(fields) < 6 or not fields[3].startswith("/") or not _is_usable(fields[4]):
            raise malformed(_MOUNTINFO, "the line of a cgroup", line)
        if kind == b"cgroup2" or b"memory" in rest.rpartition(b" ")[2].split(b","):
            mounts.append(CgroupMount(2 if kind == b"cgroup2" else 1, fields[3], fields[4]))
    return tuple(mounts)


def _is_usable(point: str) -> bool:
    """Whether a path can be opened, and leads to nowhere but below the root."""
    return point.startswith("/") and "\0" not in point and _UP not in point.split("/")


def locate_cgroup(
    root: SysRoot, pid: int | Literal["self"] = "self", mounts: tuple[CgroupMount, ...] | None = None
) -> CgroupPlace | None:
    """Finds the group in whose hierarchy a process' memory is counted.

    Args:
        root: where /proc is.
        pid: the process.
        mounts: what `read_cgroup_mounts` said; None: it is asked.

    Returns:
        None: the process has ended, nothing counts its memory, or its group is not to be seen from here.

    Raises:
        SensorError: a file is malformed.
    """
    found = read_cgroup_path(root, pid)
    if found is None:
        return None
    version, path = found
    if mounts is None:
        mounts = read_cgroup_mounts(root)
    usable = [mount for mount in mounts if mount.version == version]
    # Of several, the one that shows most of the groups above: who shares a group with this process gets the same one.
    for mount in sorted(usable, key=lambda mount: (-_levels_above(mount.root), len(mount.root.rstrip("/")))):
        below = _below(path, mount.root, _names_above(root, mount, usable))
        if below is not None:
            return CgroupPlace(path, version, _groups(mount.point, below))
    # What is mounted begins further up than the path does, by groups whose names are not to be had: its top is known.
    tops = [mount.point for mount in usable if _levels_above(mount.root) > _levels_up(path)]
    return CgroupPlace(path, version, _groups(tops[0], "")) if tops else None


def read_cgroup_path(root: SysRoot, pid: int | Literal["self"]) -> tuple[int, str] | None:
    """The version and the path of the group that counts a process' memory; None where there is none.

    Raises:
        SensorError: malformed.
    """
    file = f"proc/{pid}/cgroup"
    data = root.read_bytes(file)
    if data is None:
        return None
    unified = None
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        # hierarchy-ID:controller-list:path
        fields = line.split(b":", 2)
        if len(fields) < 3 or not fields[2].startswith(b"/") or b"\0" in line or len(fields[2]) > _PATH_BYTES_MAX:
            raise malformed(file, "a line", line)
        # A controller is in one hierarchy at a time: if v1 has this one, it is not in v2.
        if b"memory" in fields[1].split(b","):
            return 1, os.fsdecode(fields[2])
        if unified is None and not fields[1]:
            unified = os.fsdecode(fields[2])
    return None if unified is None else (2, unified)


def _levels_above(mounted: str) -> int:
    """How far above our cgroup namespace's root a mount begins; 0: not above it."""
    levels = _levels_up(mounted)
    return levels if mounted.rstrip("/") == f"/{_UP}" * levels else 0


def _levels_up(path: str) -> int:
    """With how many `/..` a path begins."""
    return sum(1 for _ in takewhile(_UP.__eq__, path.split("/")[1:]))


def _names_above(root: SysRoot, mount: CgroupMount, mounts: Sequence[CgroupMount]) -> tuple[str, ...]:
    """The groups from a mount's top down to our cgroup namespace's root; empty: it is not below, or cannot be found.

    Our namespace's root is what is mounted as `/`: in a container, the container's own part of the hierarchy. If all of
    the hierarchy is mounted as well, it is in both.
    """
    levels = _levels_above(mount.root)
    own = next((each.point for each in mounts if each.root == "/"), None)
    inode = None if own is None or not levels else root.inode(own.lstrip("/"))
    return () if inode is None else find_group(root, mount.point, levels, inode)


def _below(path: str, mounted: str, names: tuple[str, ...]) -> str | None:
    """Where a group is below what is mounted: empty for its top, else with a leading slash; None: elsewhere.

    Both are as seen from our cgroup namespace, so a group beside or above it begins with `/..`.
    """
    top = mounted.rstrip("/")
    if path == top or path.startswith(f"{top}/"):
        below = path[len(top) :].rstrip("/")
        return None if _UP in below.split("/") else below
    levels = _levels_up(path)
    whole = [*names[: len(names) - levels], *(part for part in path.split("/")[1 + levels :] if part)]
    return None if not names or levels > len(names) or _UP in whole else "".join(f"/{name}" for name in whole)


def _groups(point: str, below: str) -> tuple[str, ...]:
    """The folders from the innermost up to the mount point."""
    top = point.rstrip("/")
    groups = [top + below]
    while len(groups[-1]) > len(top):
        groups.append(groups[-1].rpartition("/")[0])
    return tuple(groups)
