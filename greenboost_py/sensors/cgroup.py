"""What a process' memory cgroups let it have: every limit from its own group up to the top of what is mounted here.

The same arithmetic as in the shim (shim/lease/local.c, shim/policy/host_memory.h), for any process.
Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst; proc_pid_mountinfo(5).
"""

import re
from dataclasses import dataclass
from typing import Literal

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.cgroup_place import CgroupPlace, locate_cgroup
from greenboost_py.sensors.kernel_text import parse_number

_UNLIMITED_BYTES = 2**62
"""v1 writes "no limit" as 2^63 less a page: from here on, a limit is none."""


@dataclass(frozen=True, slots=True)
class _Files:
    """A version's names: the files of limits, the file of what is in use, the key in memory.stat."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: re.Pattern[bytes]


_FILES = {
    # Above memory.high a group is slowed to a crawl rather than killed: no place to go either.
    2: _Files(("memory.max", "memory.high"), "memory.current", re.compile(rb"^inactive_file (.*)$", re.MULTILINE)),
    1: _Files(
        ("memory.limit_in_bytes",),
        "memory.usage_in_bytes",
        re.compile(rb"^total_inactive_file (.*)$", re.MULTILINE),
    ),
}


@dataclass(frozen=True, slots=True)
class CgroupLevel:
    """A group that has a limit.

    Attributes:
        path: its folder, one of the place's `groups`.
        limit_bytes: the lower of its limits; below 2^62.
        usage_bytes: what it and the groups below are charged for.
        reclaimable_bytes: of that, what the kernel would take back first (inactive file pages).
    """

    path: str
    limit_bytes: int
    usage_bytes: int
    reclaimable_bytes: int

    @property
    def headroom_bytes(self) -> int:
        """What may still be taken: the limit less what is in use and cannot be taken back; 0 or more."""
        kept_bytes = self.usage_bytes - min(self.reclaimable_bytes, self.usage_bytes)
        return max(0, self.limit_bytes - kept_bytes)


@dataclass(frozen=True, slots=True)
class CgroupReading:
    """The limits on a process.

    Attributes:
        path: its group, as /proc/PID/cgroup says.
        version: of the hierarchy that counts memory: 1 or 2.
        levels: the groups with a limit, its own first.
    """

    path: str
    version: int
    levels: tuple[CgroupLevel, ...]

    @property
    def tightest(self) -> CgroupLevel | None:
        """The level with the least headroom, the innermost of equals; None: nothing limits the process."""
        return min(self.levels, key=lambda level: level.headroom_bytes, default=None)

    @property
    def limit_bytes(self) -> int | None:
        """The tightest level's limit."""
        return None if self.tightest is None else self.tightest.limit_bytes

    @property
    def usage_bytes(self) -> int | None:
        """What the tightest level is charged for."""
        return None if self.tightest is None else self.tightest.usage_bytes

    @property
    def reclaimable_bytes(self) -> int | None:
        """What of that the kernel would take back first."""
        return None if self.tightest is None else self.tightest.reclaimable_bytes

    @property
    def headroom_bytes(self) -> int | None:
        """What the process may still take; None: as much as there is."""
        return None if self.tightest is None else self.tightest.headroom_bytes


def read_cgroup(root: SysRoot, pid: int | Literal["self"] = "self") -> CgroupReading | None:
    """Looks a process' group up and reads its limits. Who asks often keeps the place, and calls `read_levels`.

    Returns:
        None: the process has ended, nothing counts its memory, or its group is not to be seen from here.

    Raises:
        SensorError: a file is malformed.
    """
    place = locate_cgroup(root, pid)
    return None if place is None else CgroupReading(place.path, place.version, read_levels(root, place))


def read_levels(root: SysRoot, place: CgroupPlace) -> tuple[CgroupLevel, ...]:
    """The groups of a place that have a limit, from the innermost.

    Two files are opened for each group without one (v1: one), and two more for each with one.

    Raises:
        SensorError: a file is malformed.
    """
    files = _FILES[place.version]
    levels = (_read_level(root, group, files) for group in place.groups)
    return tuple(level for level in levels if level is not None)


def read_group(root: SysRoot, path: str) -> CgroupLevel | None:
    """One group, of either version, by its folder.

    Returns:
        None: it has no limit, or is gone.

    Raises:
        SensorError: a file is malformed.
    """
    levels = (_read_level(root, path, files) for files in _FILES.values())
    return next((level for level in levels if level is not None), None)


def read_members(root: SysRoot, path: str) -> frozenset[int]:
    """The processes in a group and in those below it, which its limit is for too; nobody, if it is gone.

    One file is opened for each group below: of a slice that may be hundreds.

    Raises:
        SensorError: a file is malformed.
    """
    pids: set[int] = set()
    folders = [path.removeprefix("/")]
    while folders:
        folder = folders.pop()
        file = f"{folder}/cgroup.procs"
        for line in (root.read_bytes(file) or b"").split(b"\n"):
            if line:
                pids.add(parse_number(line, file, "a process"))
        folders += [f"{folder}/{name}" for name in root.folders(folder) or ()]
    # The kernel writes 0 for a process that our pid namespace does not have.
    return frozenset(pids - {0})


def _read_level(root: SysRoot, group: str, files: _Files) -> CgroupLevel | None:
    """One group; None where it has no limit, or is gone."""
    folder = group.removeprefix("/")
    limits = [limit for name in files.limits if (limit := _read_counter(root, f"{folder}/{name}")) is not None]
    limit_bytes = min(limits, default=_UNLIMITED_BYTES)
    if limit_bytes >= _UNLIMITED_BYTES:
        return None
    usage_bytes = _read_counter(root, f"{folder}/{files.usage}")
    if usage_bytes is None:
        return None
    return CgroupLevel(group, limit_bytes, usage_bytes, _read_reclaimable(root, folder, files.reclaimable))


def _read_counter(root: SysRoot, path: str) -> int | None:
    """A file that holds one number, or `max`; None for that, and where it is absent, as in the root group of v2."""
    data = root.read_bytes(path)
    if data is None or (text := data.removesuffix(b"\n")) == b"max":
        return None
    return parse_number(text, path, "the number of bytes")


def _read_reclaimable(root: SysRoot, folder: str, line: re.Pattern[bytes]) -> int:
    path = f"{folder}/memory.stat"
    match = line.search(root.read_bytes(path) or b"")
    return 0 if match is None else parse_number(match[1], path, "the amount of inactive file pages")
