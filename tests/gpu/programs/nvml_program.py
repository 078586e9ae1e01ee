"""What NVML and the driver say about the card's memory, which must agree under a limit. Standard library only.

usage: nvml_program.py LIMIT_BYTES limited|plain

Takes half the limit, then twice the limit in all, and looks each time. "limited": the totals must be the limit, and
both must call the same number free; "plain": free <= total is all that is checked.
"""

import ctypes
import sys

from common import info, limit, pause

TOLERANCE = 64 << 20  # another process may take or give back meanwhile


class Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class MemoryV2(ctypes.Structure):
    """nvmlMemory_v2_t."""

    _fields_ = (
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


cuda = ctypes.CDLL("libcuda.so.1")
nvml = ctypes.CDLL("libnvidia-ml.so.1")


def do(result: int, what: str) -> None:
    """A call that must succeed."""
    if result != 0:
        sys.exit(f"{what}: {result}")


def nvml_handle() -> ctypes.c_void_p:
    """NVML's handle of the device that CUDA calls 0: the one at the same place on the PCI bus."""
    bus = ctypes.create_string_buffer(32)
    handle = ctypes.c_void_p()
    do(cuda.cuDeviceGetPCIBusId(bus, 32, 0), "cuDeviceGetPCIBusId")
    do(nvml.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(handle)), "nvmlDeviceGetHandleByPciBusId_v2")
    return handle


def look(handle: ctypes.c_void_p, when: str) -> None:
    """Ask all, compare."""
    free, total, device_total = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_size_t()
    first, second = Memory(), MemoryV2(version=ctypes.sizeof(MemoryV2) | 2 << 24)
    do(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "cuMemGetInfo")
    do(cuda.cuDeviceTotalMem_v2(ctypes.byref(device_total), 0), "cuDeviceTotalMem")
    do(nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(first)), "nvmlDeviceGetMemoryInfo")
    do(nvml.nvmlDeviceGetMemoryInfo_v2(handle, ctypes.byref(second)), "nvmlDeviceGetMemoryInfo_v2")
    said = (
        f"driver {free.value} of {total.value}, NVML {first.free} of {first.total}, v2 {second.free} of {second.total}"
    )
    info(f"{when}: {said}")
    for some, whole in ((free.value, total.value), (first.free, first.total), (second.free, second.total)):
        if some > whole:
            sys.exit(f"{when}: free > total: {said}")
    if second.used + second.free + second.reserved != second.total or first.used + first.free != first.total:
        sys.exit(
            f"{when}: the parts do not add up: {said}, used {first.used} {second.used}, reserved {second.reserved}"
        )
    if sys.argv[2] == "limited":
        if {total.value, device_total.value, first.total, second.total} != {limit()}:
            sys.exit(f"{when}: a total is not the limit {limit()}: {said}, device total {device_total.value}")
        if max(free.value, first.free, second.free) - min(free.value, first.free, second.free) > TOLERANCE:
            sys.exit(f"{when}: free differs: {said}")


def main() -> None:
    """All of it."""
    context = ctypes.c_void_p()
    do(nvml.nvmlInit_v2(), "nvmlInit_v2")
    do(cuda.cuInit(0), "cuInit")
    do(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), "cuDevicePrimaryCtxRetain")
    do(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    handle = nvml_handle()
    look(handle, "at first")
    blocks = []
    for size, when in ((limit() // 2, "half"), (limit() * 3 // 2, "twice the limit")):
        block = ctypes.c_uint64()
        do(cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(size)), "cuMemAlloc")
        blocks.append(block)
        look(handle, when)
    pause("held", "blocks")
    for block in blocks:
        do(cuda.cuMemFree_v2(block), "cuMemFree")
    look(handle, "at last")
    do(cuda.cuDevicePrimaryCtxRelease_v2(0), "cuDevicePrimaryCtxRelease")
    pause("freed", "blocks")
    print("ok")


if __name__ == "__main__":
    main()
