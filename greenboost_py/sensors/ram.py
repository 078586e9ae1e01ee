"""RAM: what /proc/meminfo says, and what it does not say.

Source: Documentation/filesystems/proc.rst, "meminfo". Its kB are 1024 bytes.
"""

import re
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import NUMBER_MAX, malformed, parse_number

_PATH = "proc/meminfo"

_ACCOUNTED = (
    *("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "Slab", "KernelStack", "PageTables", "SecPageTables"),
    *("Percpu", "Hugetlb", "Zswap", "Balloon", "Unaccepted", "GPUActive", "GPUReclaim"),
)
"""The fields that say where RAM is without counting any of it twice: Shmem is in Cached, KReclaimable in Slab."""

_READ = ("MemTotal", "MemAvailable", "CmaFree", "SwapTotal", "SwapFree", *_ACCOUNTED)

_LINE = re.compile(rf"^({'|'.join(_READ)}):(.*)$".encode(), re.MULTILINE)

_UNIT = b" kB"

_RECLAIM_SHARE_PERCENT = 90
"""How much of GPUReclaim counts as available: a guess, for a shrinker seldom gives everything back."""


@dataclass(frozen=True, slots=True)
class RamReading:
    """The machine's RAM and swap, in bytes.

    Attributes:
        total_bytes: RAM that the kernel manages, above 0; without what the firmware set aside for an APU's VRAM.
        free_bytes: used for nothing.
        available_bytes: the kernel's estimate of what programs can have without swapping. Before Linux 3.14, which has
            none, MemFree + Buffers + Cached.
        cma_free_bytes: of what is free, reserved for devices: a program's pages may lie there, a driver's not.
        gpu_active_bytes: RAM in use by GPU drivers; None where the kernel does not say (before 7.1).
        gpu_reclaim_bytes: RAM that they keep for reuse and give back when asked; likewise.
        unaccounted_bytes: what no field says the use of: zram, the pages of GPU drivers where there is no GPUActive,
            and what else the kernel takes without saying so (0.1 to 0.3 GiB).
        swap_total_bytes, swap_free_bytes: of all swap devices.
    """

    total_bytes: int
    free_bytes: int
    available_bytes: int
    cma_free_bytes: int
    gpu_active_bytes: int | None
    gpu_reclaim_bytes: int | None
    unaccounted_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int

    @property
    def effective_available_bytes(self) -> int:
        """What can really be had: 0 to total_bytes. MemAvailable counts CMA, and leaves GPUReclaim out."""
        usable_bytes = max(0, self.available_bytes - self.cma_free_bytes)
        reclaimable_bytes = (self.gpu_reclaim_bytes or 0) * _RECLAIM_SHARE_PERCENT // 100
        return min(usable_bytes + reclaimable_bytes, self.total_bytes)


def read_ram(root: SysRoot) -> RamReading | None:
    """Reads /proc/meminfo; None where there is none.

    Raises:
        SensorError: a field is malformed, or one is missing that every kernel has.
    """
    data = root.read_bytes(_PATH)
    if data is None:
        return None
    fields = _parse_fields(data)
    total_bytes = _required(fields, "MemTotal")
    if total_bytes == 0:
        raise SensorError(f"/{_PATH}", "MemTotal is 0")
    available_bytes = fields.get("MemAvailable")
    if available_bytes is None:
        available_bytes = sum(_required(fields, name) for name in ("MemFree", "Buffers", "Cached"))
    return RamReading(
        total_bytes=total_bytes,
        free_bytes=_required(fields, "MemFree"),
        available_bytes=available_bytes,
        cma_free_bytes=fields.get("CmaFree", 0),
        gpu_active_bytes=fields.get("GPUActive"),
        gpu_reclaim_bytes=fields.get("GPUReclaim"),
        unaccounted_bytes=max(0, total_bytes - sum(fields.get(name, 0) for name in _ACCOUNTED)),
        swap_total_bytes=fields.get("SwapTotal", 0),
        swap_free_bytes=fields.get("SwapFree", 0),
    )


def gpu_host_bytes(ram: RamReading, gtt_used_bytes: int, baseline_bytes: int, zram_bytes: int = 0) -> int:
    """How much RAM GPU drivers hold.

    Args:
        ram: the reading.
        gtt_used_bytes: what the drivers that say so hold, summed over their GPUs.
        baseline_bytes: what was unaccounted for at the start, less what GTT and zram held then; for kernels without
            GPUActive.
        zram_bytes: what zram holds now: it is in no field of meminfo either.

    Returns:
        0 or more. Without GPUActive a driver that does not say what it holds is seen all the same.
    """
    if ram.gpu_active_bytes is not None:
        return max(ram.gpu_active_bytes, gtt_used_bytes)
    return max(gtt_used_bytes, ram.unaccounted_bytes - zram_bytes - baseline_bytes, 0)


def _parse_fields(data: bytes) -> dict[str, int]:
    """The fields of interest in bytes. Of a field that is there twice, the first counts.

    Raises:
        SensorError: one is no number, not in kB, or too large.
    """
    fields: dict[str, int] = {}
    for key, value in _LINE.findall(data):
        name = key.decode("ascii")
        if name in fields:
            continue
        if not value.endswith(_UNIT):
            raise malformed(_PATH, f"{name}, in kB,", value)
        fields[name] = parse_number(value.removesuffix(_UNIT).strip(b" \t"), _PATH, name, NUMBER_MAX >> 10) << 10
    return fields


def _required(fields: dict[str, int], name: str) -> int:
    if name not in fields:
        raise SensorError(f"/{_PATH}", f"{name} is missing")
    return fields[name]
