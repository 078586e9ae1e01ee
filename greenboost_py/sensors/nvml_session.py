"""What NVML is asked, and what becomes of its errors. Every call in here may take long, or never return."""

import contextlib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from greenboost_py.sensors.nvml_reading import NvidiaGpu, NvidiaProcess, NvmlError, NvmlReading
from greenboost_py.sensors.pci import normalise_address

_LIBRARY = "libnvidia-ml.so.1"

_RETRY_FIRST_S, _RETRY_MOST_S = 1.0, 60.0
"""The wait before NVML is begun anew, doubled with each failure: it costs up to a second, and may load the driver."""

_DRIVER_IS_GONE = ("UNINITIALIZED", "DRIVER_NOT_LOADED", "LIBRARY_NOT_FOUND", "LIB_RM_VERSION_MISMATCH")
"""Errors that are no single GPU's. Source: nvml.h, nvmlReturn_t."""

_NOT_TO_BE_HAD = ("NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND")
"""Errors that will be the same next time: no fault, and nothing to begin anew for."""


@dataclass(frozen=True, slots=True)
class _Device:
    """A GPU's handle, and what does not change about it."""

    handle: Any
    index: int
    uuid: str
    pci_address: str
    name: str


class NvmlSession:
    """NVML from nvmlInit to nvmlShutdown, begun anew as often as the driver goes away. For one thread only.

    A driver that is gone ends the session; a GPU that fails has it begun anew, and till then the others are still read.
    Either waits, longer each time, up to a minute; meanwhile what failed is an error in every reading.

    Args:
        api: the module pynvml, or what stands in for it; None: it is loaded when it is first needed.
        clock: seconds of the monotonic clock.
    """

    def __init__(self, api: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._is_open = False
        self._devices: dict[int, _Device] = {}
        self._failed = NvmlReading()
        self._wait_s = _RETRY_FIRST_S
        self._retry_at_s: float | None = None

    def look(self) -> NvmlReading:
        """Asks for every GPU's memory and processes. What the driver does is in the reading, never an exception."""
        if self._retry_at_s is not None and self._clock() >= self._retry_at_s:
            self.end()
            self._retry_at_s = None
        if self._retry_at_s is not None and not self._is_open:
            return self._failed
        if self._api is None and not self._load():
            return self._failed
        try:
            if not self._is_open:
                self._api.nvmlInit()
                self._is_open = True
            return self._ask()
        except self._api.NVMLError as error:
            self.end()
            return self._fail(NvmlError(f"NVML: {error}"))

    def end(self) -> None:
        """Shuts NVML down, as far as that works."""
        if self._is_open:
            self._is_open = False
            self._devices = {}
            # What is gone already cannot be shut down, and need not be.
            with contextlib.suppress(self._api.NVMLError):
                self._api.nvmlShutdown()

    def _load(self) -> bool:
        """Imports NVML's binding, if there is a library for it to bind; else leaves the reading that says why not."""
        import ctypes  # for machines that have an NVIDIA GPU, or may have

        try:
            ctypes.CDLL(_LIBRARY)
        except OSError as error:
            # Nothing else tells "not there" from a library that is broken, or lacks one of its own.
            is_absent = str(error).startswith(f"{_LIBRARY}: cannot open shared object file")
            self._fail(None if is_absent else NvmlError(f"{_LIBRARY} cannot be loaded: {error}"))
            return False
        try:
            self._api = importlib.import_module("pynvml")
        except ImportError as error:
            self._fail(NvmlError(f"NVML: the Python package nvidia-ml-py is missing: {error}"))
        return self._api is not None

    def _fail(self, error: NvmlError | None) -> NvmlReading:
        """The reading until NVML is tried again."""
        self._failed = NvmlReading(error=error, at_s=self._clock())
        self._put_off()
        return self._failed

    def _put_off(self) -> None:
        """Has NVML begun anew after a wait, unless that is settled already."""
        if self._retry_at_s is None:
            self._retry_at_s = self._clock() + self._wait_s
            self._wait_s = min(2 * self._wait_s, _RETRY_MOST_S)

    def _ask(self) -> NvmlReading:
        """One reading of an open session.

        Raises:
            NVMLError: the driver is gone.
        """
        gpus: list[NvidiaGpu] = []
        processes: list[NvidiaProcess] = []
        left_out: list[str] = []
        faults: list[str] = []
        for index in range(self._api.nvmlDeviceGetCount()):
            try:
                device = self._devices.get(index) or _identify(self._api, index)
                self._devices[index] = device
                gpus.append(_read_memory(self._api, device))
            except (self._api.NVMLError, ValueError) as error:
                self._raise_if_gone(error)
                left_out.append(f"GPU {index}: {error}")
                if not isinstance(error, ValueError) and not self._is_one_of(error, _NOT_TO_BE_HAD):
                    faults.append(left_out[-1])
                continue
            try:
                processes += _read_processes(self._api, device)
            except self._api.NVMLError as error:
                self._raise_if_gone(error)
                left_out.append(f"GPU {index}: its processes: {error}")
        if faults:
            self._put_off()
        else:
            self._retry_at_s, self._wait_s = None, _RETRY_FIRST_S
        return NvmlReading(
            gpus=tuple(gpus),
            processes=tuple(sorted(processes, key=lambda process: (process.pid, process.pci_address))),
            left_out=tuple(left_out),
            error=NvmlError(f"NVML: {'; '.join(faults)}") if faults else None,
            at_s=self._clock(),
        )

    def _raise_if_gone(self, error: Exception) -> None:
        if self._is_one_of(error, _DRIVER_IS_GONE):
            raise error

    def _is_one_of(self, error: Exception, names: tuple[str, ...]) -> bool:
        """Whether an error of NVML's has one of these codes."""
        codes = (getattr(self._api, f"NVML_ERROR_{name}") for name in names)
        return isinstance(error, self._api.NVMLError) and error.value in codes


def _identify(api: Any, index: int) -> _Device:
    """A GPU by NVML's index.

    Raises:
        NVMLError: it fails.
        ValueError: it has no PCI address, or its name is no text.
    """
    handle = api.nvmlDeviceGetHandleByIndex(index)
    bus_id = api.nvmlDeviceGetPciInfo(handle).busId
    address = normalise_address(bus_id)
    if address is None:
        raise ValueError(f"{bus_id!r} is no PCI address")
    return _Device(handle, index, api.nvmlDeviceGetUUID(handle), address, api.nvmlDeviceGetName(handle))


def _read_memory(api: Any, device: _Device) -> NvidiaGpu:
    """A GPU's memory now.

    Raises:
        NVMLError: it fails, or has none to tell of, as one whose memory is the host's.
        ValueError: it has none.
    """
    # The first form: what the driver keeps for itself is used, so that nothing is neither used nor free.
    memory = api.nvmlDeviceGetMemoryInfo(device.handle)
    if memory.total == 0:
        raise ValueError("no memory of its own")
    return NvidiaGpu(
        index=device.index,
        uuid=device.uuid,
        pci_address=device.pci_address,
        name=device.name,
        total_bytes=memory.total,
        used_bytes=min(memory.used, memory.total),
        free_bytes=min(memory.free, memory.total),
    )


def _read_processes(api: Any, device: _Device) -> list[NvidiaProcess]:
    """Who is on a GPU. A process that computes and draws is in both lists, with the same figure.

    Raises:
        NVMLError: it does not say.
    """
    used: dict[int, int | None] = {}
    for ask in (api.nvmlDeviceGetComputeRunningProcesses, api.nvmlDeviceGetGraphicsRunningProcesses):
        for process in ask(device.handle):
            amounts = [amount for amount in (used.get(process.pid), process.usedGpuMemory) if amount is not None]
            used[process.pid] = max(amounts, default=None)
    return [NvidiaProcess(pid, device.pci_address, used_bytes) for pid, used_bytes in used.items()]
