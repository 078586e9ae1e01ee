"""Pressure: how much time tasks lose because a resource is short (PSI).

Source: Documentation/accounting/psi.rst.
"""

import re
from dataclasses import dataclass
from typing import Literal

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import malformed, parse_number

Resource = Literal["cpu", "io", "memory"]

_LINE = re.compile(rb"^(some|full) (.*)$", re.MULTILINE)

_PERCENT = rb"([0-9]{1,3}\.[0-9]{2})"

_FIGURES = re.compile(rb"avg10=%b avg60=%b avg300=%b total=([0-9]{1,20})" % (_PERCENT, _PERCENT, _PERCENT))

_Line = tuple[float, float, float, int]


@dataclass(frozen=True, slots=True)
class PsiReading:
    """The time that tasks lost, waiting for a resource.

    Attributes:
        some_avg10, some_avg60, some_avg300: the share of time in which at least one task waited, over the last 10, 60
            and 300 seconds; percent, 0 to 100.
        some_total_us: that time since boot, in microseconds.
        full_avg10, full_avg60, full_avg300: likewise, in which all tasks waited that had something to do. None where
            the kernel has no such line (cpu, before 5.13).
        full_total_us: likewise.
    """

    some_avg10: float
    some_avg60: float
    some_avg300: float
    some_total_us: int
    full_avg10: float | None
    full_avg60: float | None
    full_avg300: float | None
    full_total_us: int | None


def read_psi(root: SysRoot, resource: Resource = "memory") -> PsiReading | None:
    """Reads the whole machine's pressure on a resource.

    Returns:
        None: the kernel is built without PSI, or it is switched off (psi=0).

    Raises:
        SensorError: the file is malformed.
    """
    path = f"proc/pressure/{resource}"
    data = root.read_bytes(path)
    if data is None:
        return None
    lines: dict[bytes, _Line] = {}
    for kind, figures in _LINE.findall(data):
        if kind not in lines:
            lines[kind] = _parse_figures(figures, path, kind.decode("ascii"))
    some, full = lines.get(b"some"), lines.get(b"full")
    if some is None:
        raise SensorError(f"/{path}", "the line 'some' is missing")
    return PsiReading(*some, *(full or (None, None, None, None)))


def _parse_figures(figures: bytes, path: str, kind: str) -> _Line:
    match = _FIGURES.fullmatch(figures)
    if match is None:
        raise malformed(path, f"the line '{kind}'", figures)
    shares = float(match[1]), float(match[2]), float(match[3])
    if max(shares) > 100:
        raise malformed(path, f"a share in the line '{kind}'", figures)
    return *shares, parse_number(match[4], path, f"the total in the line '{kind}'")
