"""What a process has mapped of certain files: all that shows of a GPU driver's buffers where fdinfo has no figures."""

import re
from collections.abc import Collection

from greenboost_py.base.sysroot import SysRoot

_LINE = re.compile(rb"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) \S+ \S+ \S+ \S+ +(/\S+)$", re.MULTILINE)
"""Address range, rights, offset, device, inode, path. Source: proc(5), /proc/pid/maps."""


def read_mapped_bytes(root: SysRoot, pid: int, paths: Collection[str]) -> int:
    """How much of its address space a process has mapped to some files.

    Args:
        root: where /proc is.
        pid: the process.
        paths: the files, as their links in /proc/PID/fd say; none with a blank in it.

    Returns:
        Bytes, 0 or more; 0 of a process that has ended. A buffer that is mapped twice counts twice.

    Raises:
        SensorError: the file may not be read.
    """
    wanted = {path.encode() for path in paths}
    lines = _LINE.findall(root.read_bytes(f"proc/{pid}/maps") or b"")
    return sum(max(0, int(end, 16) - int(begin, 16)) for begin, end, path in lines if path in wanted)
