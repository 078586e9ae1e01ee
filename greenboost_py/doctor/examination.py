"""Everything that the checks look at, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenboost_py.base.ceilings import Ceilings
from greenboost_py.doctor.cuda import CudaReading
from greenboost_py.kernel_params.conflicts import Conflict
from greenboost_py.kernel_params.facts import Facts
from greenboost_py.probe.results import ProbeResults
from greenboost_py.sensors.cgroup import CgroupReading
from greenboost_py.sensors.numa import NumaReading
from greenboost_py.sensors.nvidia_driver import NvidiaDriver
from greenboost_py.sensors.nvml_reading import NvmlReading
from greenboost_py.sensors.overcommit import OvercommitReading
from greenboost_py.sensors.pcie_link import PcieGpu
from greenboost_py.sensors.preload import PreloadReading
from greenboost_py.sensors.ram import RamReading
from greenboost_py.sensors.rlimits import RlimitsReading
from greenboost_py.sensors.swap import SwapReading

NVIDIA = 0x10DE
"""NVIDIA's PCI vendor number."""


@dataclass(frozen=True, slots=True)
class Examination:
    """A machine, as far as this user sees it. What is absent, or could not be read, is None or empty.

    Attributes:
        driver: NVIDIA's kernel driver.
        gpus: the display controllers on PCI.
        nvml: what NVML says.
        cuda: what CUDA, and the shim in front of it, say in a child.
        library: the shim's library: its path.
        library_error: why there is none.
        results: what `greenboost probe` has measured.
        ram, swap, cgroup, overcommit, rlimits, numa, preload: the readings; cgroup and limits are this process' own.
        facts: about GTT, TTM and the IOMMU.
        conflicts: in the kernel's parameters, the worst first.
        has_rdma: whether there is an adapter for RDMA.
        daemon: its report; None: none listens.
        daemon_error: why one that listens has not answered as it should.
        unified_memory: the value of GGML_CUDA_ENABLE_UNIFIED_MEMORY; None: it is not set.
        settings: what GREENBOOST_ variables are set.
        ceilings: what the administrator allows; None: there is no such file, or it cannot be read.
        errors: what could not be read, a line each.
    """

    driver: NvidiaDriver | None = None
    gpus: tuple[PcieGpu, ...] = ()
    nvml: NvmlReading = field(default_factory=NvmlReading)
    cuda: CudaReading = field(default_factory=CudaReading)
    library: str | None = None
    library_error: str | None = None
    results: ProbeResults = field(default_factory=ProbeResults)
    ram: RamReading | None = None
    swap: SwapReading | None = None
    cgroup: CgroupReading | None = None
    overcommit: OvercommitReading | None = None
    rlimits: RlimitsReading | None = None
    numa: NumaReading | None = None
    preload: PreloadReading | None = None
    facts: Facts = field(default_factory=Facts)
    conflicts: tuple[Conflict, ...] = ()
    has_rdma: bool = False
    daemon: Mapping[str, Any] | None = None
    daemon_error: str | None = None
    unified_memory: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    ceilings: Ceilings | None = None
    errors: tuple[str, ...] = ()

    @property
    def nvidia_gpus(self) -> tuple[PcieGpu, ...]:
        """The GPUs of NVIDIA's on PCI."""
        return tuple(gpu for gpu in self.gpus if gpu.vendor_id == NVIDIA)

    @property
    def has_driver(self) -> bool:
        """Whether NVIDIA's driver shows itself in any way; in a sandbox not all of it may be seen."""
        is_loaded = self.driver is not None and self.driver.version is not None
        return is_loaded or bool(self.nvml.gpus) or bool(self.cuda.devices)

    @property
    def has_nvidia(self) -> bool:
        """Whether there is a GPU of NVIDIA's, or the driver for one."""
        return self.has_driver or bool(self.nvidia_gpus)

    @property
    def addresses(self) -> Mapping[str, str]:
        """The PCI address of each of NVIDIA's GPUs, by its UUID."""
        known = {device.uuid: device.pci_address for device in self.cuda.devices if device.pci_address is not None}
        return {gpu.uuid: gpu.pci_address for gpu in self.nvml.gpus} | known
