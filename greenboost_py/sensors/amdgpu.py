"""AMD's GPUs: how much VRAM and GTT they have, and how much of it is taken, by what their driver says in sysfs."""

import re
from dataclasses import dataclass

from greenboost_py.base.errors import SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.kernel_text import parse_number
from greenboost_py.sensors.pci import normalise_address

_CARD = re.compile(r"card([0-9]{1,9})", re.ASCII)
"""A GPU; card0-DP-1 is one of its connectors."""


@dataclass(frozen=True, slots=True)
class AmdGpu:
    """A GPU of the amdgpu driver.

    Of each pair `used` is at most `total`: the two are read one after the other, and what is used may grow between.

    Attributes:
        card: its name in sys/class/drm, for example card1.
        pci_address: for example 0000:c4:00.0.
        driver: the kernel driver's name.
        vram_total_bytes, vram_used_bytes: an APU's VRAM is the part of RAM that the firmware set aside: no RAM to the
            kernel. 0 where a GPU has none.
        visible_vram_total_bytes, visible_vram_used_bytes: the part that the CPU can reach.
        gtt_total_bytes, gtt_used_bytes: RAM that the GPU may use, and does. The total is a limit, no reservation.
        is_apu: whether VRAM lies in RAM; a guess, see `_is_apu`.
    """

    card: str
    pci_address: str
    driver: str
    vram_total_bytes: int
    vram_used_bytes: int
    visible_vram_total_bytes: int
    visible_vram_used_bytes: int
    gtt_total_bytes: int
    gtt_used_bytes: int
    is_apu: bool


@dataclass(frozen=True, slots=True)
class AmdGpusReading:
    """What AMD GPUs there are.

    Attributes:
        gpus: by the number of their card.
        errors: what could not be read, each naming the file; the other GPUs are read all the same.
    """

    gpus: tuple[AmdGpu, ...]
    errors: tuple[SensorError, ...]


def read_amdgpus(root: SysRoot) -> AmdGpusReading:
    """Looks at every graphics card. Nothing that is read wakes a sleeping GPU up.

    Source: Documentation/gpu/amdgpu/driver-misc.rst, "GPU Memory Usage Information": mem_info_*, in bytes.
    """
    gpus, errors = [], []
    try:
        names = root.names("sys/class/drm") or ()
    except SensorError as error:
        return AmdGpusReading((), (error,))
    for card in sorted((name for name in names if _CARD.fullmatch(name)), key=lambda name: (int(name[4:]), name)):
        try:
            gpu = _read_gpu(root, card)
        except SensorError as error:
            errors.append(error)
        else:
            if gpu is not None:
                gpus.append(gpu)
    return AmdGpusReading(tuple(gpus), tuple(errors))


def _read_gpu(root: SysRoot, card: str) -> AmdGpu | None:
    """One card's GPU; None where it is not AMD's.

    Raises:
        SensorError: a file is missing beside its fellows, or malformed.
    """
    device = f"sys/class/drm/{card}/device"
    vram, gtt = _read_pair(root, device, "vram"), _read_pair(root, device, "gtt")
    if vram is None and gtt is None:
        return None
    visible = _read_pair(root, device, "vis_vram")
    uevent = _read_uevent(root, f"{device}/uevent")
    address = normalise_address(uevent.get("PCI_SLOT_NAME", ""))
    if address is None:
        raise SensorError(f"/{device}/uevent", "no PCI address (PCI_SLOT_NAME=0000:c4:00.0)")
    # Since kernels of the end of 2025, a GPU that has no VRAM at all has none of VRAM's files either.
    vram_total, vram_used = vram or (0, 0)
    visible_total, visible_used = visible or (0, 0)
    gtt_total, gtt_used = gtt or (0, 0)
    return AmdGpu(
        card=card,
        pci_address=address,
        driver=uevent.get("DRIVER", ""),
        vram_total_bytes=vram_total,
        vram_used_bytes=vram_used,
        visible_vram_total_bytes=visible_total,
        visible_vram_used_bytes=visible_used,
        gtt_total_bytes=gtt_total,
        gtt_used_bytes=gtt_used,
        is_apu=_is_apu(root, device, vram_total, visible_total),
    )


def _is_apu(root: SysRoot, device: str, vram_total_bytes: int, visible_vram_total_bytes: int) -> bool:
    """Whether a GPU is part of the processor. No file says so: this is a guess from what the driver shows on which.

    All of an APU's VRAM is visible to the CPU. The driver shows neither mem_busy_percent nor pcie_bw on an APU; on
    others it shows mem_busy_percent, but for Vega 10, where there is pcie_bw. gpu_busy_percent tells that it shows such
    files at all: without power management (amdgpu.dpm=0), and in a virtual machine, it may not, and the guess is no.
    A GPU without any VRAM is an APU; MI300A, where there is mem_busy_percent, is none.

    Source: drivers/gpu/drm/amd/pm/amdgpu_pm.c, default_attr_update (AMD_IS_APU).
    """
    if vram_total_bytes == 0:
        return True
    if visible_vram_total_bytes < vram_total_bytes:
        return False
    shown = frozenset(root.names(device) or ())
    return "gpu_busy_percent" in shown and shown.isdisjoint({"mem_busy_percent", "pcie_bw"})


def _read_pair(root: SysRoot, device: str, memory: str) -> tuple[int, int] | None:
    """The total and the used bytes of one kind of memory; None where the GPU has none.

    Raises:
        SensorError: malformed, or the one is there without the other.
    """
    total = _read_figure(root, f"{device}/mem_info_{memory}_total")
    if total is None:
        return None
    used = _read_figure(root, f"{device}/mem_info_{memory}_used")
    if used is None:
        raise SensorError(f"/{device}/mem_info_{memory}_used", "missing")
    return total, min(used, total)


def _read_figure(root: SysRoot, path: str) -> int | None:
    data = root.read_bytes(path)
    return None if data is None else parse_number(data.removesuffix(b"\n"), path, "the number of bytes")


def _read_uevent(root: SysRoot, path: str) -> dict[str, str]:
    """The keys and values of a uevent file; empty where there is none."""
    pairs = (line.partition("=") for line in (root.read_text(path) or "").split("\n"))
    return {key: value for key, equals, value in pairs if equals}
