"""The open files of GPUs that a process has: who its clients are, and which drivers say nothing of memory."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors import drm_fdinfo
from greenboost_py.sensors.drm_fdinfo import DrmClient

_DEVICES = drm_fdinfo.DEVICES.strip("/")

_INODE = re.compile(rb"^ino:\t([0-9]{1,20})$", re.MULTILINE)
"""Source: proc(5), /proc/pid/fdinfo; since Linux 5.15."""

_DRM_LINE = re.compile(rb"^drm-", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class GpuFiles:
    """What a process has open of GPUs.

    Attributes:
        clients: in the order of the descriptors' names; duplicates and all.
        silent: the device files whose driver has no figures of memory.
    """

    clients: tuple[DrmClient, ...]
    silent: frozenset[str]


def read_devices(root: SysRoot) -> dict[int, str]:
    """The device files of the machine's GPUs, by their inodes."""
    names = root.names(_DEVICES) or ()
    inodes = {name: root.inode(f"{_DEVICES}/{name}") for name in names}
    return {inode: f"{drm_fdinfo.DEVICES}{name}" for name, inode in inodes.items() if inode is not None}


def read_gpu_files(root: SysRoot, pid: int, devices: Mapping[int, str], errors: list[SensorError]) -> GpuFiles:
    """Looks at a process' open files.

    Where its descriptors lead to is for its own user and for who may read everything; what their fdinfo says, since
    Linux 5.14 also for who may trace it. So a daemon with CAP_SYS_PTRACE alone reads the fdinfo of all, and knows
    a GPU's by what it says, or by its inode.

    Args:
        root: where /proc is.
        pid: the process; one that has ended, or is closed to this user, has none open.
        devices: from `read_devices`.
        errors: what is malformed is added to it.
    """
    clients: list[DrmClient] = []
    silent: set[str] = set()
    try:
        for device, path, data in _fdinfo(root, pid, devices):
            try:
                client = drm_fdinfo.parse_fdinfo(data, path)
            except SensorError as error:
                errors.append(error)
                continue
            if client is not None:
                clients.append(client)
            if device is not None and not drm_fdinfo.says_memory(data):
                silent.add(device)
    except SensorError as error:
        errors.append(error)
    return GpuFiles(tuple(clients), frozenset(silent))


def _fdinfo(root: SysRoot, pid: int, devices: Mapping[int, str]) -> Iterator[tuple[str | None, str, bytes]]:
    """Of each open file of a GPU: the device, where it is known, the path of its fdinfo, and what that says.

    Raises:
        SensorError: a file cannot be read.
    """
    folder = f"proc/{pid}/fdinfo"
    links = root.links(f"proc/{pid}/fd")
    if links is not None:
        for name, link in links.items():
            if link.startswith(drm_fdinfo.DEVICES):
                data = root.read_bytes(f"{folder}/{name}")
                if data is not None:
                    yield link, f"{folder}/{name}", data
        return
    for name, data in (root.read_all(folder) or {}).items():
        inode = _INODE.search(data)
        device = devices.get(int(inode[1])) if inode else None
        if device is not None or _DRM_LINE.search(data):
            yield device, f"{folder}/{name}", data
