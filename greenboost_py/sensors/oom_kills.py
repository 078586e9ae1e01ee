"""How many processes the kernel has killed for want of memory: the machine's, or a cgroup's under its limit."""

import re

from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import parse_number

_VMSTAT = "proc/vmstat"

_LINE = re.compile(rb"^oom_kill (.*)$", re.MULTILINE)
"""Source: mm/vmstat.c, vmstat_text; mm/oom_kill.c, __oom_kill_process, which counts both kinds."""


def read_oom_kills(root: SysRoot) -> int | None:
    """Reads the count since boot.

    Returns:
        None: the kernel does not say (before 4.13).

    Raises:
        SensorError: the count is malformed.
    """
    match = _LINE.search(root.read_bytes(_VMSTAT) or b"")
    return None if match is None else parse_number(match[1], _VMSTAT, "the number of oom_kill")
