"""Swap: the devices it is on, and the RAM behind those that are compressed RAM (zram)."""

import re
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import NUMBER_MAX, malformed, parse_number, unescape_path

_SWAPS, _BLOCK = "proc/swaps", "sys/block"

_HEADER = b"Filename"

_ROW = re.compile(rb"([^ \t]+)[ \t]+([a-z]+)[ \t]+([^ \t]+)[ \t]+([^ \t]+)[ \t]+(-?[0-9]{1,10})")

_ZRAM = re.compile(r"zram[0-9]{1,9}")

_ZRAM_FIELDS = ("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit")
"""What mm_stat begins with; newer kernels say more."""


@dataclass(frozen=True, slots=True)
class SwapDevice:
    """Where pages are swapped to. Source: mm/swapfile.c, swap_show.

    Attributes:
        path: a device or a file, for example /dev/zram0; ` (deleted)` follows a file's that is.
        kind: partition (any device) or file.
        size_bytes: what it holds at most.
        used_bytes: what it holds.
        priority: the highest is filled first.
    """

    path: str
    kind: str
    size_bytes: int
    used_bytes: int
    priority: int


@dataclass(frozen=True, slots=True)
class ZramDevice:
    """A disk in compressed RAM, used for swap or not. Source: Documentation/admin-guide/blockdev/zram.rst, mm_stat.

    Attributes:
        name: for example zram0.
        data_bytes: what is stored in it.
        compressed_bytes: to how much that is compressed.
        memory_bytes: the RAM that it takes, which is in no field of /proc/meminfo.
        memory_limit_bytes: the most it may take; None: no limit.
    """

    name: str
    data_bytes: int
    compressed_bytes: int
    memory_bytes: int
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class SwapReading:
    """All swap, and all zram.

    Attributes:
        devices: in the kernel's order.
        zrams: by name.
    """

    devices: tuple[SwapDevice, ...]
    zrams: tuple[ZramDevice, ...]

    @property
    def zram_bytes(self) -> int:
        """The RAM that zram takes."""
        return sum(zram.memory_bytes for zram in self.zrams)


def read_swap(root: SysRoot) -> SwapReading | None:
    """Looks at every device.

    Returns:
        None: the kernel has neither swap nor zram.

    Raises:
        SensorError: a file is malformed.
    """
    data = root.read_bytes(_SWAPS)
    names = sorted(name for name in root.names(_BLOCK) or () if _ZRAM.fullmatch(name))
    zrams = tuple(zram for name in names if (zram := _read_zram(root, name)) is not None)
    if data is None:
        return SwapReading((), zrams) if zrams else None
    return SwapReading(_parse_swaps(data), zrams)


def _parse_swaps(data: bytes) -> tuple[SwapDevice, ...]:
    header, *rows = data.removesuffix(b"\n").split(b"\n")
    if not header.startswith(_HEADER):
        raise SensorError(f"/{_SWAPS}", "the first line is no header")
    return tuple(_parse_row(row) for row in rows)


def _parse_row(row: bytes) -> SwapDevice:
    match = _ROW.fullmatch(row)
    if match is None:
        raise malformed(_SWAPS, "a line", row)
    return SwapDevice(
        path=unescape_path(match[1]),
        kind=match[2].decode("ascii"),
        size_bytes=parse_number(match[3], _SWAPS, "a size", NUMBER_MAX >> 10) << 10,
        used_bytes=parse_number(match[4], _SWAPS, "an amount in use", NUMBER_MAX >> 10) << 10,
        priority=int(match[5]),
    )


def _read_zram(root: SysRoot, name: str) -> ZramDevice | None:
    """One device; None where it was removed meanwhile."""
    path = f"{_BLOCK}/{name}/mm_stat"
    data = root.read_bytes(path)
    if data is None:
        return None
    words = data.split()
    if len(words) < len(_ZRAM_FIELDS):
        raise malformed(path, "the line", data)
    numbers = (parse_number(word, path, field) for field, word in zip(_ZRAM_FIELDS, words, strict=False))
    data_bytes, compressed_bytes, memory_bytes, limit_bytes = numbers
    return ZramDevice(name, data_bytes, compressed_bytes, memory_bytes, limit_bytes or None)
