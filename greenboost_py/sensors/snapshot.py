"""One look at the whole machine; what cannot be read does not keep the rest from being read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from greenboost_py.base.errors import GreenboostError, SensorError
from greenboost_py.base.sysroot import SysRoot
from greenboost_py.sensors.amdgpu import AmdGpu, read_amdgpus
from greenboost_py.sensors.cgroup import CgroupReading, read_cgroup
from greenboost_py.sensors.nvml_reading import NvidiaGpu, NvidiaProcess, NvmlReading
from greenboost_py.sensors.psi import PsiReading, read_psi
from greenboost_py.sensors.ram import RamReading, read_ram
from greenboost_py.sensors.swap import SwapReading, read_swap
from greenboost_py.sensors.ttm import TtmReading, read_ttm

_Reading = TypeVar("_Reading")


class NvmlReader(Protocol):
    """Whoever has a reading of NVIDIA's GPUs: sensors.nvml.NvmlSource, or what stands in for it."""

    def read(self) -> NvmlReading:
        """The newest figures; trouble is in the reading, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machine at one moment, or nearly: the files are read one after the other.

    Attributes:
        at_s: when, in seconds of the monotonic clock.
        ram, psi, swap, cgroup: None where it is absent or malformed. The cgroup is this process' own.
        ttm: the limits of each module that has any.
        amdgpus: by the number of their card.
        nvidia_gpus: by NVML's index.
        errors: what could not be read, in the order of the fields above.
        nvidia_processes: who is on NVIDIA's GPUs.
        nvidia_is_stale: the driver does not answer, and its figures are older than this look.
    """

    at_s: float
    ram: RamReading | None
    psi: PsiReading | None
    swap: SwapReading | None
    cgroup: CgroupReading | None
    ttm: tuple[TtmReading, ...]
    amdgpus: tuple[AmdGpu, ...]
    nvidia_gpus: tuple[NvidiaGpu, ...]
    errors: tuple[GreenboostError, ...]
    nvidia_processes: tuple[NvidiaProcess, ...] = ()
    nvidia_is_stale: bool = False


def take_snapshot(root: SysRoot, nvml: NvmlReader | None, at_s: float) -> Snapshot:
    """Reads everything once.

    Args:
        root: the machine, or a tree that stands in for it.
        nvml: who is asked about NVIDIA's GPUs; None: nobody.
        at_s: the time that goes with it, in seconds of the monotonic clock.
    """
    errors: list[GreenboostError] = []
    ram = _collect(errors, read_ram, root)
    psi = _collect(errors, read_psi, root)
    swap = _collect(errors, read_swap, root)
    cgroup = _collect(errors, read_cgroup, root)
    ttm = _collect(errors, read_ttm, root)
    amd = read_amdgpus(root)
    errors += amd.errors
    nvidia = NvmlReading() if nvml is None else nvml.read()
    if nvidia.error is not None:
        errors.append(nvidia.error)
    return Snapshot(
        at_s=at_s,
        ram=ram,
        psi=psi,
        swap=swap,
        cgroup=cgroup,
        ttm=ttm or (),
        amdgpus=amd.gpus,
        nvidia_gpus=nvidia.gpus,
        errors=tuple(errors),
        nvidia_processes=nvidia.processes,
        nvidia_is_stale=nvidia.is_stale,
    )


def _collect(errors: list[GreenboostError], read: Callable[[SysRoot], _Reading], root: SysRoot) -> _Reading | None:
    """A sensor's reading; its error joins the others."""
    try:
        return read(root)
    except SensorError as error:
        errors.append(error)
        return None
