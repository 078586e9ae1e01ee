"""What NVML says of NVIDIA's GPUs, as data."""

from dataclasses import dataclass

from greenboost_py.base.errors import GreenboostError


class NvmlError(GreenboostError):
    """NVIDIA's driver does not answer, or answers with an error."""


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """A GPU of NVIDIA's.

    Attributes:
        index: NVML's, which need not be CUDA's.
        uuid: for example GPU-6d0a5c3e-…; CUDA's without the GPU-.
        pci_address: for example 0000:41:00.0.
        name: the product's.
        total_bytes: VRAM; above 0.
        used_bytes: of it, taken, or kept by the driver for itself; 0 to total_bytes.
        free_bytes: what can still be had; 0 to total_bytes.
    """

    index: int
    uuid: str
    pci_address: str
    name: str
    total_bytes: int
    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class NvidiaProcess:
    """A process on a GPU.

    Attributes:
        pid: as the driver has it.
        pci_address: the GPU's.
        used_bytes: its VRAM there; None where the driver does not say.
    """

    pid: int
    pci_address: str
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class NvmlReading:
    """What NVML says. A machine without NVIDIA's library has no GPUs here, and no error.

    Attributes:
        gpus: by index.
        processes: by pid, then PCI address.
        left_out: what could not be had, a line each, which names the GPU and the reason; everything else is there.
        error: why there is nothing, why a GPU that should be there is not, or why this is stale.
        is_stale: the driver does not answer, and these are the figures it gave last.
        at_s: when the figures were complete, in seconds of the monotonic clock; None: nothing was asked yet.
    """

    gpus: tuple[NvidiaGpu, ...] = ()
    processes: tuple[NvidiaProcess, ...] = ()
    left_out: tuple[str, ...] = ()
    error: NvmlError | None = None
    is_stale: bool = False
    at_s: float | None = None
